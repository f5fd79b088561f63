"""Answers: what each scene says, before it is written in a dialect."""

import base64
import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import count_tokens

LONG_CHUNKS = 200
SLOW_GAP_S = 0.05
THOUGHT = "The user wants an answer; a short one will do."
AUDIO = base64.b64encode(b"RIFF simulated sound of an answer").decode()


class SceneToolCall(Struct, frozen=True):
    """A tool call with its arguments as JSON text."""

    id: str
    name: str
    arguments: str


class SceneAnswer(Struct, frozen=True, kw_only=True):
    """What a scene says.

    `pieces` are the chunks in which the text streams; `style` names oddities of the wire.
    `stop_sequence` is the client's that ended it. `searches` were made by the provider;
    `search_failed`: one was, and failed. `gap_s` is the pause after each piece, in seconds.

    Example: `SceneAnswer(pieces=("Hello", " there"), thought="A greeting.")`.
    """

    pieces: tuple[str, ...] = ()
    thought: str = ""
    calls: tuple[SceneToolCall, ...] = ()
    refusal: str = ""
    annotations: tuple[dict[str, Any], ...] = ()
    audio: str = ""
    searches: int = 0
    search_failed: bool = False
    finish: str = "stop"
    stop_sequence: str = ""
    style: str = ""
    gap_s: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def completion_tokens(self) -> int:
        texts = [self.text, self.thought, self.refusal]
        texts += [call.name + call.arguments for call in self.calls]
        return sum(map(count_tokens, texts))


def text_answer(text: str, **fields: Any) -> SceneAnswer:
    """Text in pieces of a word each, with further fields of the answer."""
    words = text.split(" ")
    pieces = tuple(f" {word}" if number else word for number, word in enumerate(words))
    return SceneAnswer(pieces=tuple(piece for piece in pieces if piece), **fields)


def echo(prompt: Prompt) -> SceneAnswer:
    """The last text of the user."""
    return text_answer(prompt.text or "(nothing was said)")


def _tool_calls(prompt: Prompt, count: int, style: str = "") -> SceneAnswer:
    tools = prompt.tools
    if prompt.choice == "none" or not tools:
        return text_answer("No tool was offered.")
    if prompt.results and prompt.choice == "auto":
        return text_answer(f"The tool said: {prompt.results[-1]}")

    if prompt.forced_tool:
        tools = tuple(tool for tool in tools if tool.name == prompt.forced_tool) or tools
    if not prompt.parallel:
        count = 1
    # One tool alone is called twice, where two calls are to be made.
    calls = tuple(
        SceneToolCall(
            f"call_{prompt.number}_{number}",
            tool.name,
            json.dumps(example_from_schema(tool.schema)),
        )
        for number, tool in enumerate((tools * count)[:count])
    )
    return SceneAnswer(calls=calls, finish="tool_calls", style=style)


def example_from_schema(schema: dict[str, Any]) -> Any:
    """A value that the JSON Schema allows, for the keywords that tools and formats use."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]

    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind == "object":
        properties = schema.get("properties", {})
        return {
            name: example_from_schema(properties[name])
            for name in schema.get("required", properties)
            if name in properties
        }
    if kind == "array":
        item = example_from_schema(schema.get("items", {"type": "string"}))
        return [item] * max(schema.get("minItems", 1), 1)
    return {"string": "Paris", "integer": 7, "number": 1.5, "boolean": True}.get(kind)


def _json(prompt: Prompt) -> SceneAnswer:
    if prompt.schema is not None:
        return text_answer(json.dumps(example_from_schema(prompt.schema)))
    return text_answer('{"answer": "yes", "confidence": 1}')


def _vision(prompt: Prompt) -> SceneAnswer:
    images = ", ".join(url[:40] + f" ({len(url)} characters)" for url in prompt.images)
    return text_answer(f"I see {len(prompt.images)} image(s): {images}")


def _file(prompt: Prompt) -> SceneAnswer:
    return text_answer(f"I read {len(prompt.files)} file(s): {', '.join(prompt.files)}")


def _audio(prompt: Prompt) -> SceneAnswer:
    text = f"I heard {len(prompt.sounds)} sound(s): {', '.join(prompt.sounds)}"
    return text_answer(text, audio=AUDIO)


def _reasoning_text(prompt: Prompt) -> str:
    repeats = {"minimal": 1, "low": 1, "medium": 2, "high": 4, "xhigh": 6, "max": 6}
    return " ".join([THOUGHT] * repeats.get(prompt.effort, 2))


def _citation(_: Prompt) -> SceneAnswer:
    text = "Paris is the capital of France."
    citation = {
        "start_index": 0,
        "end_index": 5,
        "title": "France",
        "url": "https://example.org/france",
    }
    return text_answer(text, annotations=({"type": "url_citation", "url_citation": citation},))


def _search(prompt: Prompt, *, pausing: bool = False) -> SceneAnswer:
    if not prompt.searches:
        return text_answer("No search was offered.")
    if pausing and not prompt.continues_turn:
        return text_answer("I am looking.", searches=2, finish="pause")
    return replace(_citation(prompt), searches=1)


def _with_reasoning(prompt: Prompt, style: str) -> SceneAnswer:
    return replace(echo(prompt), thought=_reasoning_text(prompt), style=style)


def _with_reasoning_details(answer: SceneAnswer) -> SceneAnswer:
    return replace(answer, thought=THOUGHT, style="reasoning_details")


STORY = tuple(f" {number:05d}" + " and so on" * 39 for number in range(404))
"""About 40,000 tokens, which are more than most calls expect."""
SCENES: dict[str, Callable[[Prompt], SceneAnswer]] = {
    "echo": echo,
    "hello": lambda _: text_answer("Hello! How can I help you today?"),
    "tools": lambda prompt: _tool_calls(prompt, 1),
    "tools-last": lambda prompt: _tool_calls(replace(prompt, tools=prompt.tools[-1:]), 1),
    "parallel-tools": lambda prompt: _tool_calls(prompt, 2),
    "tools-no-index": lambda prompt: _tool_calls(prompt, 2, "no-index"),
    "tools-zero-index": lambda prompt: _tool_calls(prompt, 2, "zero-index"),
    "tools-no-id": lambda prompt: _tool_calls(prompt, 1, "no-id"),
    "tools-object-arguments": lambda prompt: _tool_calls(prompt, 1, "object-arguments"),
    "tools-wrong-finish": lambda prompt: replace(_tool_calls(prompt, 1), finish="stop"),
    "reasoning": lambda prompt: _with_reasoning(prompt, "reasoning_content"),
    "reasoning-field": lambda prompt: _with_reasoning(prompt, "reasoning"),
    "reasoning-details": lambda prompt: _with_reasoning(prompt, "reasoning_details"),
    "reasoning-parts": lambda prompt: _with_reasoning(prompt, "parts"),
    "reasoning-hidden": lambda prompt: _with_reasoning(prompt, "unsaid"),
    "reasoning-tools": lambda prompt: _with_reasoning_details(_tool_calls(prompt, 1)),
    "reasoning-redacted": lambda prompt: _with_reasoning(prompt, "redacted"),
    "think-tags": lambda prompt: _with_reasoning(prompt, "think"),
    "think-tags-open": lambda prompt: _with_reasoning(prompt, "think-open"),
    "json": _json,
    "long": lambda _: SceneAnswer(pieces=tuple(f" word{number}" for number in range(LONG_CHUNKS))),
    "slow": lambda _: SceneAnswer(
        pieces=tuple(f" tick{number}" for number in range(20)), gap_s=SLOW_GAP_S
    ),
    "vision": _vision,
    "audio": _audio,
    "file": _file,
    "refusal": lambda _: SceneAnswer(refusal="I cannot help with that."),
    "annotations": _citation,
    "search": _search,
    "search-pause": lambda prompt: _search(prompt, pausing=True),
    "search-failed": lambda _: text_answer("I could not look.", search_failed=True),
    "logprobs": echo,
    "filter": lambda _: SceneAnswer(pieces=("I was",), finish="content_filter"),
    "length": lambda _: SceneAnswer(pieces=("This is cut",), finish="length"),
    "eos": lambda prompt: replace(echo(prompt), finish="eos"),
    "no-role": lambda prompt: replace(echo(prompt), style="no-role"),
    "unicode": lambda _: SceneAnswer(
        pieces=("line\u2028sep", "\r\n", "é\u0301", "👩‍👩‍👧", "data: not a frame\n\n", "\u0000ok")
    ),
    "nothing": lambda _: SceneAnswer(),
    "story": lambda _: SceneAnswer(pieces=STORY),
    "thinker": lambda _: text_answer("Yes.", thought="".join(STORY), style="unsaid"),
    "thinker-redacted": lambda _: text_answer("Yes.", thought="".join(STORY), style="redacted"),
}
"""Scene → what it says. Models that a test names by their own name say what `echo` says."""

SLOW_SUFFIX = "-slow"
"""Stands after a scene whose pieces come one by one: `tools-slow`."""
SLOW_SUFFIX_GAP_S = 0.004

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


def truncate(answer: SceneAnswer, limit: int | None, stops: tuple[str, ...]) -> SceneAnswer:
    """The answer under the client's limit and stop sequences."""
    for stop in stops:
        if stop and stop in answer.text:
            answer = replace(answer, pieces=(answer.text.partition(stop)[0],), stop_sequence=stop)
    thinking = count_tokens(answer.thought)
    if limit is None or count_tokens(answer.text) + thinking <= limit:
        return answer

    # Thinking is output, and comes first.
    if thinking > limit:
        thought = answer.thought.encode()[: 4 * limit].decode(errors="ignore")
        return replace(answer, thought=thought, pieces=(), finish="length")
    pieces: list[str] = []
    size = 0
    for piece in answer.pieces:
        size += len(piece.encode())
        if -(-size // 4) + thinking > limit:
            break
        pieces.append(piece)
    return replace(answer, pieces=tuple(pieces), finish="length")
