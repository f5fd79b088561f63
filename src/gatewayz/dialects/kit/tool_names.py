"""Names of tools in the form that a wire takes, and the client's names back in the answer.

Law: the same name is sent for the same name, in tools, choice and history, and no two become one.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import NamedTuple

from msgspec.structs import replace

from gatewayz.core.conversation import Message, Tool, ToolCall, ToolChoice
from gatewayz.core.requests import ChatRequest


class NameForm(NamedTuple):
    """What a name must be like; `most` is its length in characters."""

    pattern: re.Pattern[str]
    most: int


NAME_FORMS: Mapping[str, NameForm] = {
    # "Must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length of 64."
    # platform.openai.com/docs/api-reference/chat/create, `tools.function.name`.
    "openai_chat": NameForm(re.compile(r"[a-zA-Z0-9_-]{1,64}"), 64),
    # 'tools.0.custom.name: String should match pattern ^[a-zA-Z0-9_-]{1,128}$'.
    "anthropic_messages": NameForm(re.compile(r"[a-zA-Z0-9_-]{1,128}"), 128),
    # "Must start with a letter or an underscore. Must be a-z, A-Z, 0-9, or contain underscores,
    # colons, dots, and dashes, with a maximum length of 64." ai.google.dev/api/caching, FunctionDeclaration.
    "gemini": NameForm(re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"), 64),
}
"""Dialect → the names that it takes."""
OWN_AFFAIR = "anthropic_messages"
"""Between equals of this dialect there is one API, which says itself what it takes."""
NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_-]")
DIGEST_BYTES = 4


def tool_names_to_send(request: ChatRequest, dialect: str) -> dict[str, str]:
    """The client's names that `dialect` does not take → those that are sent instead.

    Example: `{"files.read": "files_read_6b2a90e1"}`.
    """
    form = NAME_FORMS.get(dialect)
    if form is None or request.dialect == dialect == OWN_AFFAIR:
        return {}
    is_allowed = form.pattern.fullmatch
    return {name: _name_in_form(name, form) for name in _names(request) if not is_allowed(name)}


def _names(request: ChatRequest) -> Iterator[str]:
    for tool in request.tools:
        if isinstance(tool, Tool):
            yield tool.name
    for message in request.messages:
        if message.role == "assistant":
            for part in message.parts:
                if isinstance(part, ToolCall):
                    yield part.name


def _name_in_form(name: str, form: NameForm) -> str:
    digest = blake2b(name.encode(), digest_size=DIGEST_BYTES).hexdigest()
    begin = NOT_ALLOWED.sub("_", name)
    begin = begin if begin[:1].isalpha() else f"_{begin}"
    return f"{begin[: form.most - len(digest) - 1]}_{digest}"


def rename_tools(request: ChatRequest, names: Mapping[str, str]) -> ChatRequest:
    """The request with these names instead."""
    choice = request.tool_choice
    return replace(
        request,
        tools=tuple(
            replace(tool, name=names.get(tool.name, tool.name)) if isinstance(tool, Tool) else tool
            for tool in request.tools
        ),
        tool_choice=_rename_choice(choice, names) if choice is not None else None,
        messages=tuple(_rename_calls(message, names) for message in request.messages),
    )


def _rename_choice(choice: ToolChoice, names: Mapping[str, str]) -> ToolChoice:
    allowed = tuple(names.get(name, name) for name in choice.allowed)
    return replace(choice, name=names.get(choice.name, choice.name), allowed=allowed)


def _rename_calls(message: Message, names: Mapping[str, str]) -> Message:
    if message.role == "tool" and message.name in names:
        return replace(message, name=names[message.name])
    if message.role != "assistant":
        return message
    parts = tuple(
        replace(part, name=names.get(part.name, part.name)) if isinstance(part, ToolCall) else part
        for part in message.parts
    )
    return replace(message, parts=parts)
