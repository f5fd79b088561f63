"""What Vertex AI's `:predict` cannot carry, with the reason."""

DROPPED: dict[str, str] = {
    "quality": "handlers of image models have no common field for it; "
    "what one of them understands goes into `provider_options`",
    "style": "as `quality`",
    "user": "PredictRequest has `instances` and `parameters`; there is no end user",
}
"""Name in `Draft.dropped` of images → why it cannot be said."""

EMBEDDINGS_DROPPED: dict[str, str] = {"user": DROPPED["user"]}
"""The same for embeddings."""
