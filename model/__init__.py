"""PointRend networks and their training: points, heads, renderer, backbones, data, losses, checkpoints."""
