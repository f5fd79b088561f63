"""Answers: what each scene says, before it is put into a wire's words."""

import base64
import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.simulator.oracle import tokens_of
from gatewayz.simulator.prompts import Prompt

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
    """What a scene says. `pieces` are the chunks in which the text streams; `style` names oddities of the wire.

    `stopped` is the client's stop sequence that ended it. `searches` were made by the provider; `unfound`: one failed.
    """

    pieces: tuple[str, ...] = ()
    thought: str = ""
    calls: tuple[Call, ...] = ()
    refusal: str = ""
    annotations: tuple[dict[str, Any], ...] = ()
    audio: str = ""
    searches: int = 0
    unfound: bool = False
    finish: str = "stop"
    stopped: str = ""
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


def echo(prompt: Prompt) -> Answer:
    return said(prompt.text or "(nothing was said)")


def _tools(prompt: Prompt, count: int, style: str = "") -> Answer:
    tools = prompt.tools
    if prompt.choice == "none" or not tools:
        return said("No tool was offered.")
    if prompt.results and prompt.choice == "auto":
        return said(f"The tool said: {prompt.results[-1]}")
    if prompt.named:
        tools = tuple(tool for tool in tools if tool.name == prompt.named) or tools
    if not prompt.parallel:
        count = 1
    calls = tuple(
        Call(f"call_{prompt.number}_{number}", tool.name, json.dumps(instance_of(tool.schema)))
        for number, tool in enumerate((tools * count)[:count])
    )
    return Answer(calls=calls, finish="tool_calls", style=style)


def instance_of(schema: dict[str, Any]) -> Any:
    """A value that the JSON Schema allows, for the keywords that tools and formats use."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "object")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        known = schema.get("properties", {})
        return {
            name: instance_of(known[name])
            for name in schema.get("required", known)
            if name in known
        }
    if kind == "array":
        return [instance_of(schema.get("items", {"type": "string"}))] * max(
            schema.get("minItems", 1), 1
        )
    return {"string": "Paris", "integer": 7, "number": 1.5, "boolean": True}.get(kind)


def _json(prompt: Prompt) -> Answer:
    if prompt.schema is not None:
        return said(json.dumps(instance_of(prompt.schema)))
    return said('{"answer": "yes", "confidence": 1}')


def _vision(prompt: Prompt) -> Answer:
    shown = ", ".join(url[:40] + f" ({len(url)} characters)" for url in prompt.images)
    return said(f"I see {len(prompt.images)} image(s): {shown}")


def _file(prompt: Prompt) -> Answer:
    return said(f"I read {len(prompt.files)} file(s): {', '.join(prompt.files)}")


def _heard(prompt: Prompt) -> Answer:
    return replace(
        said(f"I heard {len(prompt.sounds)} sound(s): {', '.join(prompt.sounds)}"), audio=AUDIO
    )


def _effort(prompt: Prompt) -> str:
    more = {"minimal": 1, "low": 1, "medium": 2, "high": 4, "xhigh": 6, "max": 6}
    return " ".join([THOUGHT] * more.get(prompt.effort, 2))


def _citing(_: Prompt) -> Answer:
    text = "Paris is the capital of France."
    citation = {
        "start_index": 0,
        "end_index": 5,
        "title": "France",
        "url": "https://example.org/france",
    }
    return said(text, annotations=({"type": "url_citation", "url_citation": citation},))


def _searching(prompt: Prompt, *, pausing: bool = False) -> Answer:
    if not prompt.searches:
        return said("No search was offered.")
    if pausing and not prompt.goes_on:
        return replace(said("I am looking."), searches=2, finish="pause")
    return replace(_citing(prompt), searches=1)


def _hidden(prompt: Prompt, style: str) -> Answer:
    return replace(echo(prompt), thought=_effort(prompt), style=style)


def _thoughtful(answer: Answer) -> Answer:
    return replace(answer, thought=THOUGHT, style="reasoning_details")


SCENES: dict[str, Callable[[Prompt], Answer]] = {
    "echo": echo,
    "hello": lambda _: said("Hello! How can I help you today?"),
    "tools": lambda prompt: _tools(prompt, 1),
    "tools-last": lambda prompt: _tools(replace(prompt, tools=prompt.tools[-1:]), 1),
    "parallel-tools": lambda prompt: _tools(prompt, 2),
    "tools-no-index": lambda prompt: _tools(prompt, 2, "no-index"),
    "tools-zero-index": lambda prompt: _tools(prompt, 2, "zero-index"),
    "tools-no-id": lambda prompt: _tools(prompt, 1, "no-id"),
    "tools-object-arguments": lambda prompt: _tools(prompt, 1, "object-arguments"),
    "tools-wrong-finish": lambda prompt: replace(_tools(prompt, 1), finish="stop"),
    "reasoning": lambda prompt: _hidden(prompt, "reasoning_content"),
    "reasoning-field": lambda prompt: _hidden(prompt, "reasoning"),
    "reasoning-details": lambda prompt: _hidden(prompt, "reasoning_details"),
    "reasoning-parts": lambda prompt: _hidden(prompt, "parts"),
    "reasoning-hidden": lambda prompt: _hidden(prompt, "unsaid"),
    "reasoning-tools": lambda prompt: _thoughtful(_tools(prompt, 1)),
    "reasoning-redacted": lambda prompt: _hidden(prompt, "redacted"),
    "think-tags": lambda prompt: _hidden(prompt, "think"),
    "think-tags-open": lambda prompt: _hidden(prompt, "think-open"),
    "json": _json,
    "long": lambda _: Answer(pieces=tuple(f" word{number}" for number in range(LONG_CHUNKS))),
    "slow": lambda _: Answer(
        pieces=tuple(f" tick{number}" for number in range(20)), gap_s=SLOW_GAP_S
    ),
    "vision": _vision,
    "audio": _heard,
    "file": _file,
    "refusal": lambda _: Answer(refusal="I cannot help with that."),
    "annotations": _citing,
    "search": _searching,
    "search-pause": lambda prompt: _searching(prompt, pausing=True),
    "search-failed": lambda _: replace(said("I could not look."), unfound=True),
    "logprobs": echo,
    "filter": lambda _: Answer(pieces=("I was",), finish="content_filter"),
    "length": lambda _: Answer(pieces=("This is cut",), finish="length"),
    "eos": lambda prompt: replace(echo(prompt), finish="eos"),
    "no-role": lambda prompt: replace(echo(prompt), style="no-role"),
    "unicode": lambda _: Answer(
        pieces=("line\u2028sep", "\r\n", "é\u0301", "👩‍👩‍👧", "data: not a frame\n\n", "\u0000ok")
    ),
    "nothing": lambda _: Answer(),
}
"""Scene → what it says. Models that a test points here by their own name say what `echo` says."""

SLOWLY = "-slow"
"""Put after a scene: its pieces come one by one."""
SLOWLY_GAP_S = 0.004

KNOWN_MODELS = frozenset(
    {
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-5",
        "o3",
        "model",
        "claude-3-5-haiku",
        "claude-sonnet-4-5",
        "claude-opus-4-8",
    }
)


def cut_to(answer: Answer, limit: int | None, stops: tuple[str, ...]) -> Answer:
    """The answer under the client's limit and stop sequences."""
    for stop in stops:
        if stop and stop in answer.text:
            answer = replace(answer, pieces=(answer.text.partition(stop)[0],), stopped=stop)
    if limit is None or tokens_of(answer.text) <= limit:
        return answer
    kept: list[str] = []
    for piece in answer.pieces:
        if tokens_of("".join([*kept, piece])) > limit:
            break
        kept.append(piece)
    return replace(answer, pieces=tuple(kept), finish="length")
