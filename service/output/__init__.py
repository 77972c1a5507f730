"""From what a model found to the body of an answer.

A format is one module here and one line in the table of `formats.py`. HTTP, OpenAPI, the client and the command line
read that table. Nothing here imports torch when it is loaded, so that the client may read the table, too.
"""
