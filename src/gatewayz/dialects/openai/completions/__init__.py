"""OpenAI's older `POST /completions` for clients, over models that chat.

Source: platform.openai.com/docs/api-reference/completions.
"""
