"""The shapes of answers, for OpenAPI and for tests. Answers are written without them, byte by byte."""
