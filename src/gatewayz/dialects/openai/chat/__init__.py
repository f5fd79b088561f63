"""OpenAI Chat Completions: the wire of most providers and most clients.

Source: platform.openai.com/docs/api-reference/chat and the types of the official SDK.
"""
