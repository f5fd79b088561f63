"""Answers: what each scene says, before it is put into a wire's words."""

import base64
import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.simulator.oracle import Asked, tokens_of

LONG_CHUNKS = 200
SLOW_GAP_S = 0.05
THOUGHT = "The user wants an answer; a short one will do."
AUDIO = base64.b64encode(b"RIFF simulated sound of an answer").decode()


class Call(Struct, frozen=True):
    """A tool call with its arguments as JSON text."""

    id: str
    name: str
    arguments: str


class Answer(Struct, frozen=True, kw_only=True):
    """What a scene says. `pieces` are the chunks in which the text streams; `style` names oddities of the wire."""

    pieces: tuple[str, ...] = ()
    thought: str = ""
    calls: tuple[Call, ...] = ()
    refusal: str = ""
    annotations: tuple[dict[str, Any], ...] = ()
    audio: str = ""
    finish: str = "stop"
    style: str = ""
    gap_s: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def completion_tokens(self) -> int:
        called = sum(tokens_of(call.name + call.arguments) for call in self.calls)
        return tokens_of(self.text) + tokens_of(self.thought) + tokens_of(self.refusal) + called


def said(text: str, **more: Any) -> Answer:
    """Text in pieces of a word each."""
    words = text.split(" ")
    pieces = tuple(f" {word}" if number else word for number, word in enumerate(words))
    return Answer(pieces=tuple(piece for piece in pieces if piece), **more)


def last_user_text(asked: Asked) -> str:
    for message in reversed(asked.content.get("messages", [])):
        if message.get("role") == "user":
            content = message.get("content") or ""
            if isinstance(content, str):
                return content
            return " ".join(part["text"] for part in content if part.get("type") == "text")
    return ""


def _parts(asked: Asked, kind: str) -> list[dict[str, Any]]:
    return [
        part
        for message in asked.content.get("messages", [])
        for part in (message.get("content") if isinstance(message.get("content"), list) else [])
        if part.get("type") == kind
    ]


def echo(asked: Asked) -> Answer:
    return said(last_user_text(asked) or "(nothing was said)")


def _tools(asked: Asked, count: int, style: str = "") -> Answer:
    results = [message for message in asked.content.get("messages", []) if message.get("role") == "tool"]
    tools = [tool for tool in asked.content.get("tools", []) if tool.get("type") == "function"]
    choice = asked.content.get("tool_choice", "auto")
    if choice == "none" or not tools:
        return said("No tool was offered.")
    if results and choice == "auto":
        return said(f"The tool said: {results[-1].get('content')}")
    if isinstance(choice, dict):
        named = choice.get("function", {}).get("name")
        tools = [tool for tool in tools if tool["function"]["name"] == named] or tools
    if asked.content.get("parallel_tool_calls") is False:
        count = 1
    calls = tuple(
        Call(f"call_{asked.number}_{number}", tool["function"]["name"], json.dumps(_instance(tool["function"])))
        for number, tool in enumerate((tools * count)[:count])
    )
    return Answer(calls=calls, finish="tool_calls", style=style)


def _instance(function: dict[str, Any]) -> Any:
    return instance_of(function.get("parameters") or {"type": "object"})


def instance_of(schema: dict[str, Any]) -> Any:
    """A value that the JSON Schema allows, for the keywords that tools and formats use."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "object")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        return {name: instance_of(inner) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance_of(schema.get("items", {"type": "string"}))] * max(schema.get("minItems", 1), 1)
    return {"string": "Paris", "integer": 7, "number": 1.5, "boolean": True}.get(kind)


def _json(asked: Asked) -> Answer:
    match asked.content.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return said(json.dumps(instance_of(schema)))
    return said('{"answer": "yes", "confidence": 1}')


def _vision(asked: Asked) -> Answer:
    seen = [part["image_url"]["url"] for part in _parts(asked, "image_url")]
    shown = ", ".join(url[:40] + f" ({len(url)} characters)" for url in seen)
    return said(f"I see {len(seen)} image(s): {shown}")


def _file(asked: Asked) -> Answer:
    names = [part["file"].get("filename") or part["file"].get("file_id") for part in _parts(asked, "file")]
    return said(f"I read {len(names)} file(s): {', '.join(map(str, names))}")


def _heard(asked: Asked) -> Answer:
    formats = [part["input_audio"]["format"] for part in _parts(asked, "input_audio")]
    return replace(said(f"I heard {len(formats)} sound(s): {', '.join(formats)}"), audio=AUDIO)


def _effort(asked: Asked) -> str:
    more = {"minimal": 1, "low": 1, "medium": 2, "high": 4, "xhigh": 6}
    return " ".join([THOUGHT] * more.get(str(asked.content.get("reasoning_effort", "medium")), 2))


def _citing(asked: Asked) -> Answer:
    text = "Paris is the capital of France."
    citation = {"start_index": 0, "end_index": 5, "title": "France", "url": "https://example.org/france"}
    return said(text, annotations=({"type": "url_citation", "url_citation": citation},))


def _hidden(asked: Asked, style: str) -> Answer:
    return replace(echo(asked), thought=_effort(asked), style=style)


SCENES: dict[str, Callable[[Asked], Answer]] = {
    "echo": echo,
    "hello": lambda _: said("Hello! How can I help you today?"),
    "tools": lambda asked: _tools(asked, 1),
    "parallel-tools": lambda asked: _tools(asked, 2),
    "tools-no-index": lambda asked: _tools(asked, 2, "no-index"),
    "tools-zero-index": lambda asked: _tools(asked, 2, "zero-index"),
    "tools-no-id": lambda asked: _tools(asked, 1, "no-id"),
    "tools-object-arguments": lambda asked: _tools(asked, 1, "object-arguments"),
    "tools-wrong-finish": lambda asked: replace(_tools(asked, 1), finish="stop"),
    "reasoning": lambda asked: _hidden(asked, "reasoning_content"),
    "reasoning-field": lambda asked: _hidden(asked, "reasoning"),
    "reasoning-details": lambda asked: _hidden(asked, "reasoning_details"),
    "reasoning-parts": lambda asked: _hidden(asked, "parts"),
    "think-tags": lambda asked: _hidden(asked, "think"),
    "think-tags-open": lambda asked: _hidden(asked, "think-open"),
    "json": _json,
    "long": lambda _: Answer(pieces=tuple(f" word{number}" for number in range(LONG_CHUNKS))),
    "slow": lambda _: Answer(pieces=tuple(f" tick{number}" for number in range(20)), gap_s=SLOW_GAP_S),
    "vision": _vision,
    "audio": _heard,
    "file": _file,
    "refusal": lambda _: Answer(refusal="I cannot help with that."),
    "annotations": _citing,
    "logprobs": echo,
    "filter": lambda _: Answer(pieces=("I was",), finish="content_filter"),
    "length": lambda _: Answer(pieces=("This is cut",), finish="length"),
    "eos": lambda asked: replace(echo(asked), finish="eos"),
    "no-role": lambda asked: replace(echo(asked), style="no-role"),
    "unicode": lambda _: Answer(
        pieces=("line\u2028sep", "\r\n", "é\u0301", "👩‍👩‍👧", "data: not a frame\n\n", "\u0000ok")
    ),
    "nothing": lambda _: Answer(),
}
"""Scene → what it says. Models that a test points here by their own name say what `echo` says."""

KNOWN_MODELS = frozenset({"gpt-4o", "gpt-4o-mini", "gpt-5", "o3", "model"})


def cut_to(answer: Answer, limit: int | None, stops: list[str]) -> Answer:
    """The answer under the client's limit and stop sequences."""
    for stop in stops:
        if stop and stop in answer.text:
            answer = replace(answer, pieces=(answer.text.partition(stop)[0],))
    if limit is None or tokens_of(answer.text) <= limit:
        return answer
    kept: list[str] = []
    for piece in answer.pieces:
        if tokens_of("".join([*kept, piece])) > limit:
            break
        kept.append(piece)
    return replace(answer, pieces=tuple(kept), finish="length")
