"""OpenAI's older `POST /completions` for clients, over models that chat (platform.openai.com/docs/api-reference)."""
