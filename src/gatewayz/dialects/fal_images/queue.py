"""The queue of fal.ai, as steps: submitted, asked after, fetched; cancelled when nobody waits any more.

docs.fal.ai/model-endpoints/queue: the addresses of a request are the ones that the queue names, used as they are.
"""

from collections.abc import Generator
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.faults import Fault
from gatewayz.dialects.base import Answer, Draft, Owe, Send, Step, Wait

T = TypeVar("T")
FIRST_POLL_MS = 500
LONGEST_POLL_MS = 5_000
MAX_HICCUPS = 3
"""Failed looks at the status in a row; the run itself may still be fine."""
ACCEPTED = frozenset({200, 201, 202})


class Ticket(Struct, frozen=True):
    """What the queue says of a request that it took."""

    status_url: str
    response_url: str
    cancel_url: str


class Standing(Struct, frozen=True):
    """Where the request stands; done does not mean that it succeeded."""

    status: str = ""


def queued(draft: Draft, queue_url: str) -> Generator[Step, Answer | None, Answer]:
    """The model's answer, or the refusal that ended it."""
    taken = yield Send(replace(draft, path=queue_url + draft.path), whole=True)
    if taken is None or taken.status not in ACCEPTED:
        return _refused(taken)
    ticket = _read(taken, Ticket)
    yield Owe(Draft(ticket.cancel_url, None, method="PUT"))
    pause_ms, hiccups = FIRST_POLL_MS, 0
    while True:
        yield Wait(pause_ms)
        pause_ms = min(pause_ms * 3 // 2, LONGEST_POLL_MS)
        seen = yield Send(Draft(ticket.status_url, None, method="GET"), whole=True)
        if seen is None or seen.status not in ACCEPTED:
            hiccups += 1
            if hiccups >= MAX_HICCUPS or (seen is not None and seen.status < 500):
                return _refused(seen)
            continue
        hiccups = 0
        if _read(seen, Standing).status == "COMPLETED":
            break
    yield Owe(None)
    answer = yield Send(Draft(ticket.response_url, None, method="GET"), whole=True)
    return _refused(answer)


def _refused(answer: Answer | None) -> Answer:
    if answer is None:
        raise Fault("upstream_broken", "The provider's queue gave no answer.")
    return answer


def _read(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault(
            "upstream_broken", "The provider's queue gave an answer that cannot be read."
        ) from error
