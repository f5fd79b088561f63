"""Providers' answers encoded by the tests, one codec a dialect, so that the laws of decoding hold for every upstream role.

What a codec encodes is a `Reply`; `heard` is the reply that must come out of it, without what no wire carries.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from gatewayz.core.events import Event, Frame, Kind, Stop
from gatewayz.core.replies import Block, Choice, Reply, fold, unfold
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from tests.support.chat_wire import BODY, STREAM, call, encode

MAKER = "maker"


class ReplyCodec(NamedTuple):
    """`stream` and `body` spell a reply; `ends` counts the choices that said why they stopped in some of the bytes.

    `kinds` are the blocks that the wire has; `silent`: a choice may say nothing at all; `uncounted` are buckets of usage
    that the wire does not know; `most` is how many choices it has room for. Where clients speak it, `client` is its path.
    """

    dialect: str
    stream: Callable[[Reply], bytes]
    body: Callable[[Reply], bytes]
    stop_marker: bytes
    kinds: frozenset[Kind]
    allows_empty: bool = True
    missing_buckets: frozenset[str] = frozenset()
    max_choices: int = 8
    client: str = ""

    def frames(
        self,
        data: bytes,
        *,
        streamed: bool,
        cuts: Sequence[int] = (),
        choices: int = 1,
        client: str = "",
    ) -> list[Frame]:
        """The frames for a client of the dialect `client`; its own sources go on only to its own dialect."""
        reading = DecodeOptions(provider=MAKER, choices=choices, echo=client in {"", self.dialect})
        decoder = UPSTREAMS[self.dialect].decoder(STREAM if streamed else BODY, reading)
        frames, before = [], 0
        for cut in [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]:
            frames += decoder.feed(data[before:cut])
            before = cut
        return frames + decoder.close()

    def events(self, data: bytes, **fields: Any) -> list[Event]:
        return [event for frame in self.frames(data, **fields) for event in frame.events]

    def encode(self, reply: Reply, *, streamed: bool) -> bytes:
        return self.stream(reply) if streamed else self.body(reply)

    def representable(self, reply: Reply) -> Reply:
        """The reply as this wire can say it."""
        choices = []
        for choice in reply.choices[: self.max_choices]:
            blocks = tuple(block for block in choice.blocks if block.kind in self.kinds)
            if not blocks and choice.stop is Stop.END and not self.allows_empty:
                blocks = (Block(Kind.TEXT, "said"),)
            choices.append(replace(choice, blocks=blocks))
        usage = (
            replace(reply.usage, **dict.fromkeys(self.missing_buckets, 0))
            if reply.usage is not None
            else None
        )
        return replace(reply, choices=tuple(choices), usage=usage)


def normalise(reply: Reply) -> Reply:
    """A reply without what a wire replaces: id, model, the provider's own words, and how JSON is spaced."""
    choices = tuple(_normalise_choice(choice) for choice in reply.choices)
    return replace(reply, id="", model="", extra={}, choices=choices, usage=reply.usage or Usage())


def _normalise_choice(choice: Choice) -> Choice:
    return Choice(
        tuple(
            replace(block, text=_normalise_text(block), extra=None, sealed="")
            for block in choice.blocks
        ),
        choice.stop,
    )


def _normalise_text(block: Block) -> str:
    return (
        json.dumps(json.loads(block.text), sort_keys=True)
        if block.kind is Kind.TOOL
        else block.text
    )


REASONS = {Stop.END: "STOP", Stop.TOOL: "STOP", Stop.LENGTH: "MAX_TOKENS", Stop.FILTER: "SAFETY"}


def _part(block: Block, text: str) -> dict[str, Any]:
    if block.kind is Kind.TOOL:
        part: dict[str, Any] = {
            "functionCall": {"id": block.id, "name": block.name, "args": json.loads(text)}
        }
    else:
        part = {"text": text} | ({"thought": True} if block.kind is Kind.REASONING else {})
    return part | ({"thoughtSignature": block.sealed} if block.sealed else {})


def _usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    details = [
        {"modality": "AUDIO", "tokenCount": usage.audio_input},
        {"modality": "IMAGE", "tokenCount": usage.image_input},
    ]
    made = {
        "promptTokenCount": usage.prompt,
        "cachedContentTokenCount": usage.cache_read,
        "thoughtsTokenCount": usage.reasoning,
        "candidatesTokenCount": usage.output + usage.audio_output,
        "promptTokensDetails": details,
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": usage.audio_output}],
    }
    return {"usageMetadata": made}


def _response(reply: Reply, *candidates: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidates": list(candidates),
        **_usage(reply.usage),
        "modelVersion": reply.model,
        "responseId": reply.id,
    }


def _gemini_body(reply: Reply) -> bytes:
    candidates = [
        {
            "content": {
                "role": "model",
                "parts": [_part(block, block.text) for block in choice.blocks],
            },
            "index": number,
            "finishReason": REASONS[choice.stop],
        }
        for number, choice in enumerate(reply.choices)
    ]
    return json.dumps(_response(reply, *candidates)).encode()


def _pieces(block: Block) -> Iterator[dict[str, Any]]:
    """Text in two pieces, its signature after it; a call whole."""
    if block.kind is Kind.TOOL:
        yield _part(block, block.text)
        return
    half = len(block.text) // 2
    for piece in filter(None, (block.text[:half], block.text[half:])):
        yield _part(replace(block, sealed=""), piece)
    if block.sealed:
        yield _part(block, "")


def _gemini_stream(reply: Reply) -> bytes:
    documents = []
    for number, choice in enumerate(reply.choices):
        parts = [part for block in choice.blocks for part in _pieces(block)]
        documents += [
            _response(reply, {"content": {"role": "model", "parts": [part]}, "index": number})
            for part in parts
        ]
        documents.append(_response(reply, {"finishReason": REASONS[choice.stop], "index": number}))
    return b"".join(
        b"data: " + json.dumps(document).encode() + b"\r\n\r\n" for document in documents
    )


def _messages(reply: Reply, *, streamed: bool) -> bytes:
    encoder = CLIENTS["/v1/messages"].encoder(call(streamed=streamed), 1)
    return b"".join(encoder.feed([Frame((event,))]) for event in unfold(reply))


REPLY_CODECS = {
    "openai_chat": ReplyCodec(
        "openai_chat",
        lambda reply: encode(unfold(reply), streamed=True),
        lambda reply: encode(unfold(reply), streamed=False),
        b'"finish_reason":"',
        frozenset({Kind.TEXT, Kind.REASONING, Kind.REFUSAL, Kind.TOOL}),
        client="/v1/chat/completions",
    ),
    "anthropic_messages": ReplyCodec(
        "anthropic_messages",
        lambda reply: _messages(reply, streamed=True),
        lambda reply: _messages(reply, streamed=False),
        b'"type":"message_stop"',
        frozenset({Kind.TEXT, Kind.REASONING, Kind.TOOL}),
        missing_buckets=frozenset({"audio_input", "image_input", "audio_output"}),
        max_choices=1,
        client="/v1/messages",
    ),
    "gemini": ReplyCodec(
        "gemini",
        _gemini_stream,
        _gemini_body,
        b'"finishReason": "',
        frozenset({Kind.TEXT, Kind.REASONING, Kind.TOOL}),
        allows_empty=False,
        missing_buckets=frozenset({"cache_write"}),
    ),
}


def decode_reply(codec: ReplyCodec, data: bytes, **fields: Any) -> Reply:
    return fold(codec.events(data, **fields))
