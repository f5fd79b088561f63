"""Gemini's `generateContent` and `streamGenerateContent`, upstream role: Google AI Studio and Vertex AI.

The wire is that of ai.google.dev/api/generate-content and of Vertex's reference of the same method.
"""
