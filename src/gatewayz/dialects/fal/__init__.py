"""The image models of fal.ai: each with its own input, directly or in a queue (docs.fal.ai)."""
