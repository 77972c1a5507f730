"""The ML backend for Label Studio: its configurations, its tasks, and the files that it hands out."""
