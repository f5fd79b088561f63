"""OpenAI's `POST /embeddings`, and what imitates it (platform.openai.com/docs/api-reference/embeddings)."""
