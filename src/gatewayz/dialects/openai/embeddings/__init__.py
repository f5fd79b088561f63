"""OpenAI's `POST /embeddings`, and what imitates it.

Source: platform.openai.com/docs/api-reference/embeddings.
"""
