"""OpenAI's `POST /images/generations`, and what imitates it (platform.openai.com/docs/api-reference/images)."""
