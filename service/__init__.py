"""The HTTP service: bundles of trained models in, crisp masks out."""
