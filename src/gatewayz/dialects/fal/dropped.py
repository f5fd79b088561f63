"""What the image models of fal.ai cannot carry, with the reason."""

DROPPED: dict[str, str] = {
    "quality": "the models' inputs have no common field for it (fal.ai/models); "
    "what one of them understands goes into `provider_options`",
    "style": "as `quality`",
    "user": "neither the inputs nor the queue know an end user (docs.fal.ai/model-endpoints/queue)",
}
"""Name in `Draft.dropped` → why it cannot be said."""
