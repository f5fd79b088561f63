"""The wire of Vertex AI's `:predict`: what a prediction is, a model's handler decides."""

NAME = "vertex_predict"
IMAGE_FIELDS = ("bytesBase64Encoded", "b64_json", "image", "output")
"""Where a prediction that is an object holds the image: Imagen's name, then those of handlers."""
