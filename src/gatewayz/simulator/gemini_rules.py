"""What Gemini refuses, as its API does: unknown fields, turns out of order, signatures that are missing or not its own.

Fields are those of ai.google.dev/api/generate-content and of Vertex's reference; the sentences are the API's.
"""

import re
from collections.abc import Iterator
from typing import Any

Content = dict[str, Any]

SIGNATURES = frozenset({"EiYKJGU3MmIxZC1zaWduZWQtYnktdGhlLXNpbXVsYXRvcg==", "skip_thought_signature_validator"})
SIGNATURE = next(one for one in sorted(SIGNATURES) if one.startswith("Ei"))
STRICT = re.compile(r"gemini-[3-9]")
"""Models that want the first call of a step signed."""

FIELDS: dict[str, frozenset[str]] = {
    "": frozenset(
        {
            "contents",
            "systemInstruction",
            "tools",
            "toolConfig",
            "generationConfig",
            "safetySettings",
            "cachedContent",
            "labels",
        }
    ),
    "generation_config": frozenset(
        {
            "temperature",
            "topP",
            "topK",
            "seed",
            "presencePenalty",
            "frequencyPenalty",
            "stopSequences",
            "candidateCount",
            "maxOutputTokens",
            "responseLogprobs",
            "logprobs",
            "thinkingConfig",
            "responseMimeType",
            "responseSchema",
            "responseJsonSchema",
            "responseModalities",
            "imageConfig",
            "mediaResolution",
        }
    ),
    "generation_config.thinking_config": frozenset({"thinkingBudget", "thinkingLevel", "includeThoughts"}),
    "tool_config": frozenset({"functionCallingConfig"}),
    "tool_config.function_calling_config": frozenset({"mode", "allowedFunctionNames"}),
    "contents": frozenset({"role", "parts"}),
    "parts": frozenset(
        {"text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"}
    ),
    "function_call": frozenset({"id", "name", "args"}),
    "function_response": frozenset({"id", "name", "response", "parts"}),
    "function_declarations": frozenset({"name", "description", "parameters", "parametersJsonSchema"}),
    "schema": frozenset(
        {
            "type",
            "format",
            "title",
            "description",
            "nullable",
            "enum",
            "items",
            "minItems",
            "maxItems",
            "properties",
            "required",
            "minProperties",
            "maxProperties",
            "minLength",
            "maxLength",
            "pattern",
            "anyOf",
            "propertyOrdering",
            "minimum",
            "maximum",
            "default",
            "example",
        }
    ),
}
"""Where a field stands, as the API names the place → the fields that are known there."""


def why_not(model: str, content: Content) -> str:
    """The sentence with which the request is refused; empty when it is served."""
    turns = content.get("contents") or []
    if not turns:
        return "* GenerateContentRequest.contents: contents is not specified\n"
    unknown = next((wrong for place, value in _places(content) if (wrong := _unknown(place, value))), "")
    return unknown or _wrong_config(content.get("generationConfig") or {}) or _wrong_turns(model, turns)


def _places(content: Content) -> Iterator[tuple[str, Any]]:
    """Every object whose fields are checked, with its place."""
    config = content.get("generationConfig") or {}
    yield "", content
    yield "generation_config", config
    yield "generation_config.thinking_config", config.get("thinkingConfig") or {}
    yield "tool_config", content.get("toolConfig") or {}
    yield "tool_config.function_calling_config", (content.get("toolConfig") or {}).get("functionCallingConfig") or {}
    yield from _schemas(config.get("responseSchema"))
    for turn in content["contents"]:
        yield "contents", turn
        for part in turn.get("parts") or ():
            yield "parts", part
            yield "function_call", part.get("functionCall") or {}
            yield "function_response", part.get("functionResponse") or {}
    for tool in content.get("tools") or ():
        for function in tool.get("functionDeclarations") or ():
            yield "function_declarations", function
            yield from _schemas(function.get("parameters"))


def _schemas(schema: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield "schema", schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), schema.get("items")]
    for one in inner:
        yield from _schemas(one)


def _unknown(place: str, value: Content) -> str:
    names = sorted(value.keys() - FIELDS[place])
    at = f" at '{place}'" if place else ""
    return f'Invalid JSON payload received. Unknown name "{names[0]}"{at}: Cannot find field.' if names else ""


def _wrong_config(config: Content) -> str:
    thinking = config.get("thinkingConfig") or {}
    if {"thinkingBudget", "thinkingLevel"} <= thinking.keys():
        return "You can only set only one of thinking budget and thinking level."
    if len(config.get("stopSequences") or ()) > 5:
        return "Unable to submit request because it must have between 0 and 5 stop sequences."
    seed = config.get("seed", 0)
    if not -(2**31) <= seed < 2**31:
        return f"Invalid value at 'generation_config.seed' (TYPE_INT32), {seed}"
    return ""


def _wrong_turns(model: str, turns: list[Content]) -> str:
    """Roles, empty parts, results that do not follow their calls, and signatures."""
    calls = 0
    for turn in turns:
        parts = turn.get("parts") or []
        if turn.get("role") not in {"user", "model"}:
            return "Please use a valid role: user, model."
        if not parts or any(part.get("text") == "" and "thoughtSignature" not in part for part in parts):
            return "Unable to submit request because it has an empty text parameter."
        results = sum("functionResponse" in part for part in parts)
        if results and results != calls:
            return (
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        calls = sum("functionCall" in part for part in parts)
        wrong = _wrong_signatures(model, parts)
        if wrong:
            return wrong
    return ""


def _wrong_signatures(model: str, parts: list[Content]) -> str:
    if any(part["thoughtSignature"] not in SIGNATURES for part in parts if "thoughtSignature" in part):
        return "Thought signature is not valid."
    calls = [part for part in parts if "functionCall" in part]
    if calls and STRICT.search(model) and "thoughtSignature" not in calls[0]:
        name = calls[0]["functionCall"].get("name")
        return f"Function call is missing a thought_signature in functionCall parts. function call `{name}`"
    return ""
