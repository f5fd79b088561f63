"""Vertex AI's `:predict`: image models behind an endpoint, and text embedding models.

Source: cloud.google.com/vertex-ai. Gemini on Vertex speaks Gemini's wire, and Claude Anthropic's.
"""
