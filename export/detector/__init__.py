"""A detector that somebody else trained, in front of a mask head: its settings, its checks, and how it runs."""
