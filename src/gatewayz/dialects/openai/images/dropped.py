"""What OpenAI's images cannot carry: nothing that the canon names.

Only the `extra` of other dialects stays behind.
"""

DROPPED: dict[str, str] = {}
"""Name in `Draft.dropped` → why it cannot be said."""
