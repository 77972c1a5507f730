"""Attacks on a running service: what a client may send that must neither end it nor starve the others."""
