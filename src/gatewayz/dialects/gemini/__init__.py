"""Gemini's `generateContent` and `streamGenerateContent`, of Google AI Studio and Vertex AI.

Upstream role only. The wire is that of ai.google.dev/api/generate-content and of Vertex's reference
of the same method.
"""
