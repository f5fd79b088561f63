"""Counting the tokens of a conversation: `POST /v1/messages/count_tokens`.

Anthropic is asked; where another provider serves the model, the count is the estimate that holds
are made with. Source: docs.anthropic.com/en/api/messages-count-tokens.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from gatewayz.core.calls import Call
from gatewayz.core.events import BlockDelta, Failed, Finished, Frame
from gatewayz.core.faults import Fault
from gatewayz.core.requests import CountRequest
from gatewayz.dialects.anthropic.errors import error_body
from gatewayz.dialects.anthropic.request import chat_from_fields, request_to_wire
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.chat_steps import token_count_frames
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.jsontext import encode_json, parse_client_object

COUNT_FIELDS = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
        "cache_control",
        "speed",
    }
    | {"mcp_servers", "context_management", "compaction", "billing_policy"}
)
"""MessageCountTokensParams, stable and beta: limits and sampling, for example, are refused."""
PATH_SUFFIX = "/count_tokens"
CANNOT_COUNT = frozenset({404, 405, 501})
"""Statuses of imitators that have no such path; they do not mean that the model is unknown."""


class _TokenCount(Struct):
    input_tokens: int


def count_from_wire(body: bytes, headers: Mapping[str, str]) -> CountRequest:
    """The request in a client's body. Faults: `bad_request` names the field that is wrong."""
    chat = chat_from_fields(Fields(parse_client_object(body)), headers)
    return CountRequest(
        dialect=chat.dialect,
        model=chat.model,
        models=chat.models,
        user=chat.user,
        session=chat.session,
        preferences=chat.preferences,
        chat=chat,
    )


def count_to_wire(request: CountRequest, target: EncodeTarget) -> Draft:
    """The request as Anthropic counts it."""
    draft = request_to_wire(request.chat, target)
    body = {name: value for name, value in (draft.body or {}).items() if name in COUNT_FIELDS}
    return msgspec.structs.replace(draft, path=draft.path + PATH_SUFFIX, body=body)


def frames_from_count(body: bytes) -> list[Frame]:
    """The frames of an answer of status 200. Faults: `upstream_broken`.

    Example: `{"input_tokens": 10}`.
    """
    try:
        return token_count_frames(msgspec.json.decode(body, type=_TokenCount).input_tokens)
    except msgspec.DecodeError as wrong:
        raise Fault("upstream_broken", f"the provider's count cannot be read: {wrong}") from None


class CountEncoder:
    """Frames in, the count out."""

    content_type = "application/json"

    def __init__(self, call: Call) -> None:
        self._call = call
        self._tokens = ""

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for event in (event for frame in frames for event in frame.events):
            match event:
                case BlockDelta(text=text):
                    self._tokens = text
                case Failed(fault=fault):
                    return encode_json(error_body(fault, self._call.id))
                case Finished():
                    return encode_json({"input_tokens": int(self._tokens or 0)})
        return b""
