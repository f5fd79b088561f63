"""A count of tokens as frames, and the steps of a role whose provider is not asked for one."""

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
from gatewayz.dialects.base import Asking, Draft, Send, Steps


def counted(tokens: int) -> list[Frame]:
    """A whole answer that is a number of tokens."""
    block = (BlockStarted(0, Kind.COUNT), BlockDelta(0, str(max(tokens, 0))), BlockEnded(0))
    return [Frame((Started(), *block, ChoiceEnded(0, Stop.END))), Frame((Finished(),))]


class _Encodes(Protocol):
    def encode(self, request: Any, asking: Asking) -> Draft: ...


class OneChat:
    """The steps of a role that sends one request to chat, and estimates what a prompt counts: mix it in."""

    serves: frozenset[Surface] = frozenset({"chat", "count"})
    lacks: frozenset[Capability] = frozenset()

    def steps(self: _Encodes, request: Any, asking: Asking) -> Steps:
        if isinstance(request, CountRequest):
            yield counted(request.prompt_tokens())
        else:
            yield Send(self.encode(request, asking))
