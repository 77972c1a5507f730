"""The body of a request: received within limits, and in memory once."""
