"""Measurements of this project: speed, behaviour under load, the paper's comparisons, scaling, accuracy.

`python -m bench` prints the table of docs/speed.md. Each folder has commands of its own; the docs name them.
"""
