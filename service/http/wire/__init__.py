"""Connections: how many there are, what may come over them and how fast, and how they end."""
