"""What OpenAI Chat cannot carry, and why."""

DROPPED: dict[str, str] = {
    "seal": "state that one provider sealed can be opened by no other",
    "tool_choice": "tool_choice is 'none', 'auto', 'required', a named tool or allowed_tools",
    "parallel_tool_calls": "'parallel_tool_calls' is only allowed when 'tools' are specified",
    "tools": "tools are functions and custom tools; server tools of other dialects are neither",
    "schema": "a function's parameters are one object: no union, enum or negation at the top",
    "content": "content parts are text, image_url, input_audio and file",
}
"""Name in `Draft.dropped` (before its first dot) → why it cannot be said.

A part of another dialect goes by its own type, and a field by its name in that dialect's `extra`.
"""
