"""What is not served: the APIs that clients ask for, each with the way out.

A row's answer is 404 in the form that its own clients read. Paths that are nothing at all get a hint
from `path_hints`.
"""

from typing import Literal

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.base import HttpResponse
from gatewayz.dialects.kit.jsontext import encode_json

JSON = (("content-type", "application/json"),)
METHOD_NOT_FOUND = -32_601
"""JSON-RPC 2.0, 5.1."""
MAX_PATH_CHARS = 200
Form = Literal["caller", "google", "jsonrpc"]


class UnservedApi(Struct, frozen=True):
    """Paths that begin with one of `paths`, what they are, and what to do instead.

    `form`: whose error it is; `caller` is OpenAI's, or Anthropic's for its own clients.
    """

    name: str
    paths: tuple[str, ...]
    instead: str
    form: Form = "caller"


UNSERVED = (
    UnservedApi(
        "OpenAI's Responses API",
        ("/v1/responses", "/v1/conversations"),
        "a later version serves it; until then use POST /v1/chat/completions (in the OpenAI SDKs "
        "chat.completions, in the AI SDK openai.chat(model))",
    ),
    UnservedApi(
        "Files",
        ("/v1/files", "/v1/uploads"),
        "send a file inside the message, as a data URL or base64 part; nothing that is said is "
        "stored here",
    ),
    UnservedApi(
        "Batches",
        ("/v1/batches", "/v1/messages/batches"),
        "send the requests one by one, as many at a time as your limits allow, or ask the provider "
        "directly for its batch prices",
    ),
    UnservedApi(
        "Realtime",
        ("/v1/realtime",),
        "stream POST /v1/chat/completions; for speech ask the provider directly",
    ),
    UnservedApi(
        "Audio",
        ("/v1/audio",),
        "send sound as an input_audio part of POST /v1/chat/completions, or ask the provider directly",
    ),
    UnservedApi(
        "Changed and edited images, and video",
        ("/v1/images/edits", "/v1/images/variations", "/v1/videos"),
        "make images with POST /v1/images/generations; ask the provider directly for the rest",
    ),
    UnservedApi(
        "Fine-tuning and evaluations",
        ("/v1/fine_tuning", "/v1/fine-tunes", "/v1/evals"),
        "train at the provider; what comes of it can be asked for here as provider/its-own-id",
    ),
    UnservedApi(
        "Assistants, threads and vector stores",
        ("/v1/assistants", "/v1/threads", "/v1/vector_stores", "/v1/containers"),
        "keep the conversation in your client, and send it whole with POST /v1/chat/completions",
    ),
    UnservedApi(
        "Moderations and rerankings",
        ("/v1/moderations", "/v1/rerank", "/v2/rerank"),
        "ask the provider directly, or a model with POST /v1/chat/completions",
    ),
    UnservedApi(
        "Anthropic's text completions",
        ("/v1/complete",),
        "use POST /v1/messages",
    ),
    UnservedApi(
        "MCP",
        ("/mcp", "/sse", "/v1/mcp"),
        "run your MCP servers beside the client, which offers their tools to models as functions",
        form="jsonrpc",
    ),
    UnservedApi(
        "Gemini's own API",
        ("/v1beta/", "/v1alpha/", "/upload/v1beta/"),
        "ask for Gemini's models with POST /v1/chat/completions or /v1/messages, such as "
        "google/gemini-2.5-flash",
        form="google",
    ),
    UnservedApi(
        "Ollama's own API",
        ("/api/chat", "/api/generate", "/api/tags", "/api/embed", "/api/show"),
        "use OpenAI's API, with the base URL that ends in /v1",
    ),
)
"""Rows are listed in docs/guides/not-served.md; a row that is served some day is taken out."""


def find_unserved(path: str) -> UnservedApi | None:
    """The row of a path that belongs to an API which is not served."""
    for row in UNSERVED:
        for prefix in row.paths:
            rest = path.removeprefix(prefix)
            if path.startswith(prefix) and (not rest or rest[0] in "/?" or prefix.endswith("/")):
                return row
    return None


def fault_of_unserved(method: str, path: str, row: UnservedApi) -> Fault:
    """The fault for a path of a row."""
    return Fault(
        "unknown_route",
        f"{method} {path[:MAX_PATH_CHARS]}: {row.name} is not served here; {row.instead}.",
    )


def response_of_unserved(fault: Fault, path: str) -> HttpResponse | None:
    """The answer in the form of the path's own clients; `None` where it is the caller's."""
    row = find_unserved(path) if fault.kind == "unknown_route" else None
    match row.form if row is not None else "caller":
        case "google":
            error = {"code": 404, "message": fault.message, "status": "NOT_FOUND"}
            return HttpResponse(404, JSON, encode_json({"error": error}))
        case "jsonrpc":
            rpc_error = {"code": METHOD_NOT_FOUND, "message": fault.message}
            body = {"jsonrpc": "2.0", "id": None, "error": rpc_error}
            return HttpResponse(404, JSON, encode_json(body))
        case _:
            return None
