"""The echo: a provider's own events and messages, with what the client must see in them instead.

The client's id and model stand in for the provider's, and the cost beside its usage; every other
field keeps its bytes.
"""

import re

from msgspec import Raw

from gatewayz.core.calls import Call
from gatewayz.core.events import UsageReported
from gatewayz.dialects.anthropic.usage import echo_usage
from gatewayz.dialects.anthropic.wire import WireBlock
from gatewayz.dialects.kit.jsontext import decode_json, decode_raw_fields, encode_json

EVENT_TYPE = re.compile(rb'\{\s*"type"\s*:\s*"(\w+)"')


NEEDED = {
    "type": Raw(b'"message"'),
    "role": Raw(b'"assistant"'),
    "content": Raw(b"[]"),
    "stop_reason": Raw(b"null"),
    "stop_sequence": Raw(b"null"),
}
"""Fields of a message that the SDK cannot do without, as they are where an imitator leaves them
out (anthropic-python, `types/message.py`)."""
NEEDED_IN_BLOCKS: dict[str, WireBlock] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
"""Type of a block → what its deltas grow, which must be there when it starts."""


def mend_block(block: WireBlock) -> WireBlock:
    """The block as it starts, with what is missing of it."""
    needed = NEEDED_IN_BLOCKS.get(str(block.get("type")))
    if needed is None or needed.keys() <= block.keys():
        return block
    return {**needed, **block}


def event_name(source: bytes) -> str:
    """The event that the data belongs to: its type, which stands first on Anthropic's own wire.

    Example: `{"type":"message_stop"}` → `message_stop`.
    """
    match = EVENT_TYPE.match(source)
    if match is not None:
        return match[1].decode()
    return str(decode_json(source).get("type") or "")


class MessageHead:
    """The id and model that the client knows, for every message of one call.

    Example of `fields`: `{"id": "msg_01J…", "model": "anthropic/claude-sonnet-4.5"}`.
    """

    def __init__(self, call: Call) -> None:
        self.call_id = call.id
        self.fields = {"id": f"msg_{call.id}", "model": call.request.model}
        self._raw_fields = {name: Raw(encode_json(value)) for name, value in self.fields.items()}

    def rewrite_message(self, source: bytes, reported: UsageReported | None = None) -> bytes:
        """A whole message of the provider, with its usage as it is charged."""
        fields = decode_raw_fields(source)
        usage = echo_usage(fields.get("usage"), reported)
        missing = {name: raw for name, raw in NEEDED.items() if name not in fields}
        return encode_json({**fields, **missing, **self._raw_fields, "usage": usage})

    def rewrite_start(self, source: bytes) -> bytes:
        """A `message_start`, whose message has no cost yet."""
        fields = decode_raw_fields(source)
        message = Raw(self.rewrite_message(bytes(fields["message"])))
        return encode_json({**fields, "message": message})
