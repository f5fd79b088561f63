"""Events: the one stream grammar that every answer is written in.

They hold no cycles, so the collector skips them.

Blocks carry a number and several may be open at once (parallel tool calls stream as they come); a
choice carries the number of the alternative answer. `extra` belongs to the dialect that the event
was read from (logprobs, audio, annotations) and is dropped by encoders of other dialects.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.usage import Usage


class Stop(StrEnum):
    """Why the model stopped, unified; `ChoiceEnded.raw` keeps the provider's word."""

    END = "end"
    LENGTH = "length"
    TOOL = "tool"
    FILTER = "filter"
    SEQUENCE = "sequence"


class Kind(StrEnum):
    """What a block holds.

    An image's text is its URL, in one delta (bytes travel as a data URL); a vector's is JSON in the
    form that the client asked for, an array of floats or a text in base64; a count's the number.
    """

    TEXT = "text"
    REASONING = "reasoning"
    REFUSAL = "refusal"
    TOOL = "tool"
    AUDIO = "audio"
    IMAGE = "image"
    VECTOR = "vector"
    COUNT = "count"
    OPAQUE = "opaque"
    """Only the upstream's dialect knows it; it stands whole in the `extra` of a delta, as
    `block`.
    """


class Started(Struct, frozen=True, gc=False):
    """The provider has begun: its id for the answer and its name for the model."""

    id: str = ""
    model: str = ""
    extra: dict[str, Any] = {}


class BlockStarted(Struct, frozen=True, gc=False):
    """A block opens; `id` and `name` are a tool call's."""

    block: int
    kind: Kind
    id: str = ""
    name: str = ""
    choice: int = 0


class BlockDelta(Struct, frozen=True, gc=False):
    """A piece of a block: text, or for tools the next piece of the arguments' JSON text."""

    block: int
    text: str
    extra: dict[str, Any] | None = None


class BlockEnded(Struct, frozen=True, gc=False):
    """A block closes; `sealed` is opaque state that only its provider can read, tagged."""

    block: int
    sealed: str = ""


class ChoiceEnded(Struct, frozen=True, gc=False):
    """An alternative answer is complete; `raw` is the provider's own word for why."""

    choice: int
    stop: Stop
    raw: str = ""
    extra: dict[str, Any] | None = None


class UsageReported(Struct, frozen=True, gc=False):
    """Usage so far; the last report holds, reports are never summed.

    `cost_usd` is the provider's own figure.

    `cost` is ours, in nano-dollars: the engine puts it in when the price is known, encoders show it
    beside the usage. `final`: the engine has seen the end of the answer, so it may be shown at
    once. `counts_all`: the report came with the reason to stop or later, so nothing is made after
    it.

    Example: `UsageReported(Usage(input=12, output=3), cost=60_000, final=True)`
    """

    usage: Usage
    cost_usd: str = ""
    cost: int | None = None
    final: bool = False
    counts_all: bool = False


class Finished(Struct, frozen=True, gc=False):
    """The answer is complete: the upstream's terminal marker was seen."""


class Failed(Struct, frozen=True, gc=False):
    """The answer ends here and is not complete."""

    fault: Fault


Event = (
    Started
    | BlockStarted
    | BlockDelta
    | BlockEnded
    | ChoiceEnded
    | UsageReported
    | Finished
    | Failed
)


class Frame(Struct, frozen=True, gc=False):
    """Events that were read together, and the bytes they were read from where those may be sent on.

    `source` is one JSON text of the upstream's dialect with every repair already made; only the
    client's id and model are still to be put in. `whole` marks a complete body, as against one
    chunk of a stream.

    Example: `Frame((BlockDelta(0, "Hel"),), b'{"choices":[{"delta":{"content":"Hel"}}]}')`
    """

    events: tuple[Event, ...]
    source: bytes | None = None
    whole: bool = False

    @property
    def usage(self) -> UsageReported | None:
        """The report of this frame that holds: its last one."""
        for event in reversed(self.events):
            if type(event) is UsageReported:
                return event
        return None


FINISHED = Frame((Finished(),))
"""The end of a complete answer, where nothing else is to be said with it."""


def is_end(frames: Sequence[Frame]) -> bool:
    """Whether a batch ends the answer, one way or the other."""
    events = frames[-1].events if frames else ()
    return bool(events) and type(events[-1]) in {Finished, Failed}
