"""The commit point of an answer: what promises it to the client, and how an answer ends before or
after it.
"""

from typing import NoReturn

from gatewayz.core.calls import Call
from gatewayz.core.events import (
    FINISHED,
    BlockDelta,
    BlockStarted,
    ChoiceEnded,
    Failed,
    Finished,
    Frame,
    Started,
    Stop,
)
from gatewayz.core.faults import Fault
from gatewayz.routing.candidates import Candidate

FRAME_BYTES = 256
"""Of a frame and its events, beside what they say."""


def fault_of_end(frames: list[Frame]) -> Fault | None:
    """The fault that an answer ends in."""
    last = frames[-1].events[-1]
    return last.fault if isinstance(last, Failed) else None


def has_commit_point(call: Call, frames: list[Frame]) -> bool:
    """Whether these frames commit the call: a block for a stream, the finish for a whole answer."""
    commits = (BlockStarted, Finished) if call.request.streamed else (Finished,)
    return any(type(event) in commits for frame in frames for event in frame.events)


def raise_before_commit(fault: Fault | None, call: Call, frames: list[Frame]) -> None:
    """Raises the fault that a batch ends in, unless the batch also holds what commits the call."""
    if fault is not None and not has_commit_point(call, frames[:-1]):
        raise fault


def frame_bytes(frame: Frame) -> int:
    """About how much memory a frame takes that waits."""
    texts = sum(len(event.text) for event in frame.events if isinstance(event, BlockDelta))
    return FRAME_BYTES + texts + len(frame.source or b"")


def raise_no_content(candidate: Candidate) -> NoReturn:
    raise Fault(
        "upstream_broken",
        f"{candidate.provider.name} sent too much without an end, or without content.",
    )


def content_filter_end() -> list[Frame]:
    """The provider's filter stopped the answer before it began: the dialect's own way to say so."""
    return [Frame((Started(), ChoiceEnded(0, Stop.FILTER, "content_filter"))), FINISHED]
