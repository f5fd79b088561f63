"""The steps of most roles that chat; a count of tokens as frames, where no provider is asked."""

from typing import Any, Protocol

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Finished,
    Frame,
    Kind,
    Started,
    Stop,
)
from gatewayz.core.requests import Capability, CountRequest, Surface
from gatewayz.dialects.kit.base import Draft, EncodeTarget, Send, Steps


def token_count_frames(tokens: int) -> list[Frame]:
    """A whole answer that is a number of tokens."""
    block = (BlockStarted(0, Kind.COUNT), BlockDelta(0, str(max(tokens, 0))), BlockEnded(0))
    return [Frame((Started(), *block, ChoiceEnded(0, Stop.END))), Frame((Finished(),))]


class _SupportsEncode(Protocol):
    def encode(self, request: Any, target: EncodeTarget) -> Draft: ...


class ChatSteps:
    """The steps of a role that chats by one request, and estimates a prompt's tokens: mix it in."""

    serves: frozenset[Surface] = frozenset({"chat", "count"})
    lacks: frozenset[Capability] = frozenset()

    def steps(self: _SupportsEncode, request: Any, target: EncodeTarget) -> Steps:
        if isinstance(request, CountRequest):
            yield token_count_frames(request.prompt_tokens())
        else:
            yield Send(self.encode(request, target))
