"""Vertex AI's `:predict`, as image models behind an endpoint of one's own answer it (cloud.google.com/vertex-ai)."""
