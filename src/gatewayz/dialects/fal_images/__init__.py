"""The image models of fal.ai: the model's own input and output, asked directly or through a queue (docs.fal.ai)."""
