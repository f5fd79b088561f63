"""What the gateway changes in a request, and why, generated from the tables that do it:
docs/guides/what-changes.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files

from gatewayz.dialects.anthropic.dropped import DROPPED as ANTHROPIC_DROPPED
from gatewayz.dialects.fal.dropped import DROPPED as FAL_DROPPED
from gatewayz.dialects.gemini.dropped import DROPPED as GEMINI_DROPPED
from gatewayz.dialects.gemini.dropped import EMBEDDINGS_DROPPED, IMAGES_DROPPED
from gatewayz.dialects.kit.media_types import IMAGE_TYPES
from gatewayz.dialects.kit.native import NATIVE_FIELDS
from gatewayz.dialects.kit.tool_names import NAME_FORMS
from gatewayz.dialects.openai.chat.dropped import DROPPED as CHAT_DROPPED
from gatewayz.dialects.openai.completions.dropped import DROPPED as COMPLETIONS_DROPPED
from gatewayz.dialects.vertex.dropped import DROPPED as VERTEX_DROPPED
from gatewayz.providers.quirks import MEANT_FIELDS
from gatewayz.providers.refused_parameters import (
    DEPENDENTS,
    DROPPED_VALUES,
    MAX_DROPPED_PARAMETERS,
    NEVER_DROPPED,
)
from gatewayz.providers.registry import provider_rows
from gatewayz.providers.spec import Quirks

LOST: Mapping[str, Mapping[str, str]] = {
    "OpenAI's chat": CHAT_DROPPED,
    "Anthropic's messages": ANTHROPIC_DROPPED,
    "Gemini": GEMINI_DROPPED,
    "Gemini, images": IMAGES_DROPPED,
    "Gemini, embeddings": EMBEDDINGS_DROPPED,
    "Vertex, `:predict`": VERTEX_DROPPED,
    "fal": FAL_DROPPED,
    "answers of completions": COMPLETIONS_DROPPED,
}
"""API → name of what it cannot say → why."""
DIALECT_NAMES = {
    "openai_chat": "chat",
    "anthropic_messages": "messages",
    "gemini": "Gemini",
}
Sentence = Callable[[Quirks], str]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _by_model(table: Mapping[str, Iterable[str]]) -> str:
    return "; ".join(
        f"{_names(names)} (models `{_cell(pattern)}`)" for pattern, names in table.items()
    )


def _cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.replace("|", "\\|")


def _left_out(quirks: Quirks) -> str:
    parts = [_names(quirks.drop), _by_model(quirks.drop_by_model)]
    if quirks.drop_when_reasoning:
        parts.append(f"{_names(quirks.drop_when_reasoning)} (when it reasons)")
    if quirks.allow_only:
        parts.append("all but a list of fields")
    if quirks.drop_inside or quirks.drop_message_fields:
        inside = _names((*quirks.drop_inside, *quirks.drop_message_fields))
        parts.append(f"{inside} inside messages")
    said = "; ".join(filter(None, parts))
    return f"left out: {said}" if said else ""


def _limit_name(quirks: Quirks) -> str:
    match quirks.max_tokens_field:
        case "max_tokens":
            return ""
        case "by_model":
            return "the limit is `max_completion_tokens` for models that reason"
    return "the limit is `max_completion_tokens`"


def _efforts(quirks: Quirks) -> str:
    if quirks.reasoning_send not in {"reasoning_effort", "reasoning_object"}:
        return ""
    words = f"effort is one of {_names(quirks.efforts)}"
    by_model = _by_model(quirks.efforts_by_model)
    return f"{words}; {by_model}" if by_model else words


def _history(quirks: Quirks) -> str:
    places = [quirks.reasoning_history, *quirks.reasoning_history_by_model.values()]
    default = Quirks().reasoning_history_by_model
    if quirks.reasoning_history_by_model == default:
        places = places[:1]
    said = _names(dict.fromkeys(filter(None, places)))
    return f"earlier thoughts go back as {said}" if said else ""


SENTENCES: Mapping[str, Sentence] = {
    "fields": _left_out,
    "rename": lambda quirks: ", ".join(
        f"`{old}` is sent as `{new}`" for old, new in quirks.rename.items()
    ),
    "limit": _limit_name,
    "always_send_limit": lambda quirks: (
        "a limit is always sent" if quirks.always_send_limit else ""
    ),
    "efforts": _efforts,
    "history": _history,
    "thoughts_required": lambda quirks: (
        "thinking is off where a call in the history has lost its thought"
        if quirks.thoughts_required
        else ""
    ),
    "tool_choice": lambda quirks: (
        "" if quirks.tool_choice_required else "a tool that is demanded is only offered"
    ),
    "required_word": lambda quirks: (
        ""
        if quirks.required_word == "required"
        else f"`tool_choice: required` is `{quirks.required_word}`"
    ),
    "json_mode": lambda quirks: {
        "json_schema": "",
        "json_object": "a schema is asked for in words, with `json_object`",
        "json_schema_only": "`json_object` is a schema that takes any object",
    }[quirks.json_mode],
    "temperature": lambda quirks: (
        f"temperature is held to {quirks.temperature_range[0]} … {quirks.temperature_range[1]}"
        if quirks.temperature_range is not None
        else ""
    ),
    "content": lambda quirks: "content is plain text" if quirks.flatten_content else "",
    "images": lambda quirks: (
        "images by address are not sent there" if quirks.inline_images_only else ""
    ),
    "extra": lambda quirks: f"{_names(quirks.extra_body)} is added" if quirks.extra_body else "",
}
"""What a row changes in a chat → the sentence that says so; empty where it does not."""


def changes_reference() -> str:
    """The whole page, as Markdown: an introduction by hand, and the tables."""
    head = files("gatewayz.providers").joinpath("changes.md").read_text("utf-8").rstrip()
    return "\n".join([head, *_tables()]) + "\n"


def _tables() -> Iterator[str]:
    yield from _refused_table()
    yield from _names_table()
    yield from _lost_tables()
    yield from _parameters_part()
    yield from _providers_table()


def _table(title: str, *columns: str) -> list[str]:
    return ["", f"## {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _refused_table() -> Iterator[str]:
    yield from _table("Refused, because it means something", "field", "of", "where the target")
    for dialect, fields in NATIVE_FIELDS.items():
        for name, field in fields.items():
            yield f"| `{name}` | {DIALECT_NAMES[dialect]} | {field.why} |"
    for name, (_, why) in MEANT_FIELDS.items():
        yield f"| `{name}` | chat, messages | {why.removeprefix('it ')} |"
    yield "| parts of a user's message, server tools | any | has none of the kind |"


def _names_table() -> Iterator[str]:
    yield from _table("Names of tools, images", "API", "a tool's name", "images as bytes")
    for dialect, form in NAME_FORMS.items():
        images = ", ".join(sorted(IMAGE_TYPES.get(dialect, ()))) or "as its model takes them"
        yield f"| {DIALECT_NAMES[dialect]} | `{form.pattern.pattern}` | {images} |"


def _lost_tables() -> Iterator[str]:
    yield from _table("Left out and named, because the API cannot say it", "API", "name", "why")
    for api, reasons in LOST.items():
        for name, why in reasons.items():
            yield f"| {api} | `{name}` | {_cell(why)} |"


def _parameters_part() -> Iterator[str]:
    most = f"up to {MAX_DROPPED_PARAMETERS} names a call"
    values = "; ".join(
        f"`{name}` where it says {_names(str(value) for value in values)}"
        for name, values in DROPPED_VALUES.items()
    )
    pairs = "; ".join(f"{_names(names)} with `{field}`" for field, names in DEPENDENTS.items())
    yield from ("", "## When a provider refuses a parameter by name", "")
    yield f"- It is asked again without it, {most}; a limit goes under its other name."
    yield f"- Never left out: {_names(sorted(NEVER_DROPPED))}."
    yield f"- Left out only where nothing changes: {values}."
    yield f"- What needs a field goes with it: {pairs}."
    yield "- What a refusal has taught holds for its call alone: no request takes a field from another's."


def _providers_table() -> Iterator[str]:
    yield from _table("What each provider's row changes", "provider", "in a chat request")
    for name, row in provider_rows().items():
        said = [sentence(row.quirks) for sentence in SENTENCES.values()]
        words = ". ".join(text[0].upper() + text[1:] for text in said if text)
        if words and not row.built_in:
            yield f"| {name} | {words} |"
