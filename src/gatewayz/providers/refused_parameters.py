"""Parameters that a provider's refusal names as unknown to it, and a body without them.

Providers name them in `param`, in a list of pydantic's errors (`loc`), quoted, or in plain words,
one or several at once (`errors.toml`, `[unsupported_parameter]`, says which words mean it). What
counts is what the body holds: a word of the refusal that is no field of the request is no name.

Law: what would change the meaning of a request is never left out. A limit goes under the other name
that providers know it by.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from gatewayz.core.faults import UpstreamError

Body = Mapping[str, Any]
OTHER_LIMIT_NAMES = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
"""Names of one limit: a provider that refuses one may know the other."""
NEVER_DROPPED = frozenset(
    {
        *("model", "messages", "prompt", "input", "contents", "system", "systemInstruction"),
        *("n", "num_images", "max_output_tokens", "maxOutputTokens", "stop", "stop_sequences"),
        *("tools", "functions", "response_format", "responseSchema", "responseJsonSchema"),
        *("stream", "modalities", "audio", "generationConfig", "output_config"),
        # Inside messages and tools.
        *("role", "content", "text", "type", "id", "parts", "source", "data", "url", "image_url"),
        *("function", "name", "arguments", "tool_calls", "tool_call_id", "tool_use_id"),
        *(
            "parameters",
            "input_schema",
            "schema",
            "json_schema",
            "input_audio",
            "file",
            "file_data",
        ),
        "description",
    }
)
"""What a request is not itself without: a provider that refuses one of these has refused it."""
DROPPED_INSIDE = frozenset({"name"})
"""Of those, what a message can do without."""
DROPPED_VALUES: Mapping[str, tuple[Any, ...]] = {
    "tool_choice": ("auto", {"type": "auto"}),
    "function_call": ("auto",),
    "response_format": ({"type": "text"},),
}
"""Fields that may be left out only where they say what holds without them."""
DEPENDENTS: Mapping[str, tuple[str, ...]] = {
    "tools": ("tool_choice", "parallel_tool_calls"),
    "functions": ("function_call",),
    "logprobs": ("top_logprobs",),
    "stream": ("stream_options",),
}
"""Field → fields that are refused without it (platform.openai.com/docs/api-reference/chat/create)."""
MAX_DROPPED_PARAMETERS = 8
"""Names that one call leaves out for one provider: so often it is asked again at the most."""
MAX_SCANNED_CHARS = 8_192
"""Characters of a refusal in which names are looked for."""

ALTERNATIVES = re.compile(
    r"\bexpected|did you mean|instead|must be one|supported (values|parameters|fields)|"
    r"valid (values|parameters|fields)|one of|please use|\buse ['\"`]",
    re.IGNORECASE,
)
"""Begins the part of a refusal that names what the provider does take."""
LEADING_PATH = re.compile(r"(?:^|\n)\s*([A-Za-z_]\w*(?:(?:\.|\[)[\w$]+\]?)+):\s")
"""`tools[0].function.strict: Extra inputs are not permitted`: pydantic's errors as lines."""
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
LIST_ITEMS = re.compile(r"\}\s*,\s*\{")
LOCATION = re.compile(r"""\\?['"]?loc\\?['"]?\s*[:=]\s*[\[(]([^\])]*)[\])]""")
SEGMENT = re.compile(r"[\w.$-]+")
QUOTED = re.compile(r"""['"`“‘]([\w.\[\]$-]+)\\?['"`”’]""")
WORD = re.compile(r"[A-Za-z_][\w$]*(?:(?:\.|\[)[\w$]+\]?)*")
NOUN = r"(?:arguments?|parameters?|fields?|keys?|inputs?|propert(?:y|ies)|options?)"
NAMES = r"([A-Za-z_][\w.\[\], ]*)"
PLAIN = re.compile(
    rf"\b{NOUN}\b[^:\n]{{0,60}}:\s*{NAMES}|\b{NOUN}\s+{NAMES}|"
    r"([A-Za-z_][\w.\[\]]*) (?:is|are|was|were)(?:n't| not| un)|"
    rf"(?:not|n't) (?:support|accept|allow|recogni[sz]e)\w*\s+(?:the\s+)?{NAMES}",
    re.IGNORECASE,
)
"""Where a name stands in plain words."""
INDEX = re.compile(r"\[(\w+)\]")


def parameters_in_refusal(
    error: UpstreamError, wording: re.Pattern[str], body: Body | None = None
) -> tuple[str, ...]:
    """The names in a refusal whose words match `wording`, of fields that `body` holds and can do
    without; without a body, of any.

    Example: `Unrecognized request arguments supplied: top_k, reasoning_effort` →
    `("top_k", "reasoning_effort")`.
    """
    text = error.message[:MAX_SCANNED_CHARS]
    if not wording.search(f"{error.code} {text}"):
        return ()
    raw = error.raw[:MAX_SCANNED_CHARS].decode(errors="replace")
    for names in _candidates(error, text, raw, wording, scans_words=body is not None):
        spelled = (_spelling(body, name) for name in names)
        found = tuple(dict.fromkeys(name for name in spelled if _can_do_without(body, name)))
        if found:
            return found
    return ()


def _candidates(
    error: UpstreamError, text: str, raw: str, wording: re.Pattern[str], *, scans_words: bool
) -> Iterator[list[str]]:
    """Names by where they stand, the surest place first."""
    yield [*_names_in_locations(text, wording), *_names_in_locations(raw, wording)]
    yield [_plain_path(error.param)] if SEGMENT.match(error.param) else []
    before = ALTERNATIVES.split(text, maxsplit=1)[0]
    yield [_plain_path(path) for path in LEADING_PATH.findall(text)]
    yield [_plain_path(name) for name in QUOTED.findall(before)]
    words = [
        word for groups in PLAIN.findall(before) for group in groups for word in WORD.findall(group)
    ]
    yield [_plain_path(name) for name in words] if scans_words else []
    yield [name for name in WORD.findall(before) if "_" in name] if scans_words else []


def _names_in_locations(text: str, wording: re.Pattern[str]) -> list[str]:
    """The places in a list of pydantic's errors, of those items that say that something is unknown."""
    names = []
    for item in LIST_ITEMS.split(text):
        location = LOCATION.search(item)
        if location is not None and wording.search(item):
            names.append(_plain_path(".".join(SEGMENT.findall(location[1]))))
    return [name for name in names if name]


def _plain_path(name: str) -> str:
    """`messages[0].cache_control` → `messages.0.cache_control`, without the body's own name."""
    return INDEX.sub(r".\1", name).removeprefix("body.").removeprefix("request.").strip(".")


def _spelling(body: Body | None, name: str) -> str:
    """The name as the body writes it; xAI says `presencePenalty` of `presence_penalty`."""
    if body is None or any(_holders(body, name)):
        return name
    return CAPITAL.sub("_", name).lower()


def _can_do_without(body: Body | None, name: str) -> bool:
    if body is None:
        return name.rpartition(".")[2] not in NEVER_DROPPED
    return any(_is_droppable(holder, last, path) for holder, last, path in _holders(body, name))


def _is_droppable(holder: Mapping[str, Any], last: str, path: tuple[str, ...]) -> bool:
    if last in DROPPED_VALUES:
        return holder[last] in DROPPED_VALUES[last]
    if last in NEVER_DROPPED and not (last in DROPPED_INSIDE and path == ("messages",)):
        return False
    return not {"parameters", "input_schema", "schema", "arguments"} & {*path}


def _holders(body: Body, name: str) -> Iterator[tuple[dict[str, Any], str, tuple[str, ...]]]:
    """Where a name stands: the object, its last part, and the path to it. An index in a name means
    every item, and a name that stands nowhere at the top is looked for in messages and tools.
    """
    *path, last = [part for part in name.split(".") if not part.isdigit()]
    found = False
    for holder in _objects_at(body, path):
        if last in holder:
            found = True
            yield holder, last, tuple(path)
    if not found and not path:
        for top in ("messages", "tools"):
            for holder, inner in _objects_below(body.get(top), (top,), 3):
                if last in holder:
                    yield holder, last, inner


def _objects_at(value: Any, path: list[str]) -> Iterator[dict[str, Any]]:
    items = value if isinstance(value, list) else (value,)
    for item in items:
        if not isinstance(item, dict):
            continue
        if not path:
            yield item
            continue
        if path[0] in item:
            yield from _objects_at(item[path[0]], path[1:])
        elif isinstance(value, list):
            # pydantic names the kind of an item beside its place: `tools.0.custom.strict`.
            yield from _objects_at(item, path[1:])


def _objects_below(
    value: Any, path: tuple[str, ...], depth: int
) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    if isinstance(value, list):
        yield from chain.from_iterable(_objects_below(item, path, depth) for item in value)
    elif isinstance(value, dict):
        yield value, path
        if depth > 1:
            for name, inner in value.items():
                yield from _objects_below(inner, (*path, name), depth - 1)


def remove_parameters(body: dict[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """Takes out parameters that the provider does not know; dots lead inside. Returns those that
    are gone: a limit is not, it goes under its other name.
    """
    gone: list[str] = []
    for name in names:
        for holder, last, path in list(_holders(body, name)):
            if not _is_droppable(holder, last, path):
                continue
            value = holder.pop(last)
            if last in OTHER_LIMIT_NAMES:
                holder.setdefault(OTHER_LIMIT_NAMES[last], value)
            else:
                gone.append(name)
    gone += remove_dependents(body, gone)
    return tuple(dict.fromkeys(gone))


def remove_dependents(body: dict[str, Any], before: Container[str]) -> list[str]:
    """Takes out what needs a field that the body had `before` and has no more; returns it."""
    return [
        name
        for field, names in DEPENDENTS.items()
        if field in before and field not in body
        for name in names
        if body.pop(name, None) is not None
    ]
