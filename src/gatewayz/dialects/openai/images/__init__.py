"""OpenAI's `POST /images/generations`, and what imitates it.

Source: platform.openai.com/docs/api-reference/images.
"""
