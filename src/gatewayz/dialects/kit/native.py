"""What of a request only its own dialect can serve, and what a client must not lose unknowingly.

Left out and answered with a 200, each of these would make another answer, or another conversation:
parts of a user's message, tools, and fields that say what the next request will hold. They are
refused by name before any provider is asked. Everything else that does not cross is dropped and
named (`translate`).
"""

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple

from gatewayz.core.conversation import File, Image, Message, Opaque, OpaqueTool, Part, ToolResult
from gatewayz.core.requests import ChatRequest, CountRequest, Request
from gatewayz.dialects.kit.media_types import (
    FILE_TYPES,
    FILE_URL_SCHEMES,
    IMAGE_TYPES,
    file_media_type,
    image_media_type_of,
)

CHAT, MESSAGES, GEMINI = "openai_chat", "anthropic_messages", "gemini"
KEEPS_THREADS = "keeps no conversations by itself; send the whole conversation"
KEEPS_FILES = "keeps no files or machines between requests"
COMPACTS = "does not compact conversations"
THREAD_DETAILS = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
"""By which `@anthropic-ai/sdk` and Claude Code send the turn again whole, and no thread after it
(`lib/internal/threads/ThreadState.js`)."""


class NativePart(NamedTuple):
    """A part of a request that the target does not have: where it stands, why that ends a sentence
    that begins with the provider, and what the dialect's SDK is told beside it.

    Example: `NativePart("tools[0]", "it has no tool 'web_search_20250305'")`
    """

    param: str
    why: str
    details: dict[str, Any] | None = None


class NativeField(NamedTuple):
    """Why a field cannot be left out, and the values for which that is so."""

    why: str
    is_meant: Callable[[Any], bool] = bool
    details: dict[str, Any] | None = None


def _compacts(value: Any) -> bool:
    """Whether a server is asked to shorten the conversation, so that the client need not."""
    edits = value.get("edits") if isinstance(value, dict) else None
    items = edits if isinstance(edits, list) else ()
    return any(str(item.get("type", "")).startswith("compact") for item in items if item)


def _asks_for_search(value: Any) -> bool:
    """Whether xAI's `search_parameters` or OpenRouter's `plugins` want the web."""
    if isinstance(value, dict):
        return value.get("mode") != "off"
    items = value if isinstance(value, list) else ()
    plugins = [item for item in items if isinstance(item, dict)]
    return any(item.get("id") == "web" and item.get("enabled", True) for item in plugins)


def _is_elsewhere(value: Any) -> bool:
    return value not in (None, "global")


SEARCHES = "makes no web searches"
CONSTRAINS = "holds its answer to no such rule; send a `response_format` of the type json_schema"
NATIVE_FIELDS: Mapping[str, Mapping[str, NativeField]] = {
    MESSAGES: {
        "thread": NativeField(KEEPS_THREADS, details=THREAD_DETAILS),
        "container": NativeField(KEEPS_FILES),
        "mcp_servers": NativeField("connects to no MCP servers"),
        # Clearing old thoughts and results changes nothing that the client keeps; a summary does.
        "context_management": NativeField(COMPACTS, _compacts),
        "compaction": NativeField(COMPACTS),
        "inference_geo": NativeField("takes no region to compute in", _is_elsewhere),
    },
    CHAT: {
        "previous_response_id": NativeField(KEEPS_THREADS),
        "conversation": NativeField(KEEPS_THREADS),
        "thread": NativeField(KEEPS_THREADS),
        "container": NativeField(KEEPS_FILES),
        "prompt": NativeField("keeps no prompts"),
        "mcp_servers": NativeField("connects to no MCP servers"),
        "functions": NativeField("knows tools and no functions; send them as `tools`"),
        "audio": NativeField("answers in text only"),
        "modalities": NativeField("answers in text only", lambda value: "audio" in value),
        "web_search_options": NativeField(SEARCHES, lambda value: value is not None),
        "search_parameters": NativeField(SEARCHES, _asks_for_search),
        "plugins": NativeField(SEARCHES, _asks_for_search),
        "enable_search": NativeField(SEARCHES),
        # A format of a type that is not OpenAI's, and what vLLM, SGLang and llama.cpp call theirs.
        "response_format": NativeField("has no such format; send text, json_object or json_schema"),
        "structured_outputs": NativeField(CONSTRAINS),
        "guided_json": NativeField(CONSTRAINS),
        "guided_regex": NativeField(CONSTRAINS),
        "guided_choice": NativeField(CONSTRAINS),
        "guided_grammar": NativeField(CONSTRAINS),
        "regex": NativeField(CONSTRAINS),
        "ebnf": NativeField(CONSTRAINS),
        "grammar": NativeField(CONSTRAINS),
    },
}
"""Dialect → field of its requests that is never dropped with a 200 (platform.claude.com/docs/en/api,
platform.openai.com/docs/api-reference)."""


def native_parts(request: Request, dialect: str) -> Iterator[NativePart]:
    """The parts that the client would miss in `dialect`; none between equals."""
    chat = request.chat if isinstance(request, CountRequest) else request
    if chat.dialect == dialect or not isinstance(chat, ChatRequest):
        return
    for name, value in chat.extra.items():
        field = NATIVE_FIELDS.get(chat.dialect, {}).get(name)
        if field is not None and value is not None and field.is_meant(value):
            yield NativePart(name, f"it {field.why}", field.details)
    choice = chat.tool_choice
    if choice is not None and choice.mode in {"required", "named"} and not chat.tools:
        yield NativePart("tool_choice", "it is given no tools, and `tool_choice` asks for one")
    for index, tool in enumerate(chat.tools):
        if isinstance(tool, OpaqueTool) and tool.dialect != dialect:
            kind = tool.value.get("name") or tool.value.get("type")
            yield NativePart(f"tools[{index}]", f"it has no tool '{kind}'")
    for index, message in enumerate(chat.messages):
        if message.role != "assistant":
            yield from _native_content(message, f"messages[{index}]", dialect)


def _native_content(message: Message, path: str, dialect: str) -> Iterator[NativePart]:
    for part in message.parts:
        for content in part.parts if isinstance(part, ToolResult) else (part,):
            why = _why_not_taken(content, dialect)
            if why:
                yield NativePart(path, why)


def _why_not_taken(part: Part, dialect: str) -> str:
    match part:
        case Opaque(value=value) if part.dialect != dialect and not part.plain:
            return f"it takes no content of the type '{value.get('type')}'"
        case File(id=file_id, content="") if not _is_web_file(file_id, dialect):
            return f"it cannot read the file '{file_id}' of another provider; send its content"
        case File(content=content, name=name) if content and dialect in FILE_TYPES:
            kind = file_media_type(content, name)
            if kind and not FILE_TYPES[dialect].match(kind):
                return f"it takes no files of the type '{kind}'"
        case Image(url=url) if dialect in IMAGE_TYPES:
            kind = image_media_type_of(url)
            if kind and kind not in IMAGE_TYPES[dialect]:
                return f"it takes no images of the type '{kind}'"
    return ""


def _is_web_file(file_id: str, dialect: str) -> bool:
    """Whether an id is an address that the target reads; an upload elsewhere is none."""
    return file_id.startswith(FILE_URL_SCHEMES.get(dialect, ()))


def find_native_part(request: Request, whys: Container[str]) -> NativePart | None:
    """The part that an offer was excluded for, by why: what the client can do something about."""
    return next(
        (
            part
            for dialect in (CHAT, MESSAGES, GEMINI)
            for part in native_parts(request, dialect)
            if part.why in whys
        ),
        None,
    )


def refusal_details(request: Request, param: str) -> dict[str, Any] | None:
    """What a dialect's SDK is told, beside the words, of a field that is refused."""
    field = NATIVE_FIELDS.get(request.dialect, {}).get(param)
    return field.details if field is not None else None


def untranslatable(request: Request, dialect: str) -> str:
    """What the client would miss in `dialect`, as the end of a sentence; empty when nothing.

    Example: `it has no tool 'web_search_20250305'`.
    """
    part = next(native_parts(request, dialect), None)
    return part.why if part is not None else ""
