"""Formats of other tools: of annotation, of training, and of maps."""
