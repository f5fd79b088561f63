"""The queue of fal.ai, as steps: submit, poll, fetch; cancel when nobody waits any more.

The addresses of a request are the ones that the queue names, used as they are
(docs.fal.ai/model-endpoints/queue).
"""

from collections.abc import Generator
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from gatewayz.core.faults import Fault
from gatewayz.dialects.fal.wire import QueueStatus, QueueTicket
from gatewayz.dialects.kit.base import Draft, OnAbort, Send, Step, UpstreamAnswer, Wait

T = TypeVar("T")
FIRST_POLL_MS = 500
MAX_POLL_MS = 5_000
MAX_FAILED_POLLS = 3
"""Failed looks at the status in a row; the run itself may still be fine."""
ACCEPTED = frozenset({200, 201, 202})


def run_in_queue(
    draft: Draft, queue_url: str
) -> Generator[Step, UpstreamAnswer | None, UpstreamAnswer]:
    """The model's answer, or the refusal that ended it. The engine's deadline ends the polling."""
    submitted = yield Send(replace(draft, path=queue_url + draft.path), read_whole=True)
    if submitted is None or submitted.status not in ACCEPTED:
        return _require_answer(submitted)

    ticket = _decode_answer(submitted, QueueTicket)
    # From here on the run costs money, so whoever leaves cancels it.
    yield OnAbort(Draft(ticket.cancel_url, None, method="PUT"))
    refusal = yield from _poll(ticket.status_url)
    if refusal is not None:
        return refusal

    yield OnAbort(None)
    answer = yield Send(Draft(ticket.response_url, None, method="GET"), read_whole=True)
    return _require_answer(answer)


def _poll(status_url: str) -> Generator[Step, UpstreamAnswer | None, UpstreamAnswer | None]:
    """Waits until the run is complete; returns the refusal that ended the waiting, if one did."""
    pause_ms, failed_polls = FIRST_POLL_MS, 0
    while True:
        yield Wait(pause_ms)
        pause_ms = min(pause_ms * 3 // 2, MAX_POLL_MS)

        answer = yield Send(Draft(status_url, None, method="GET"), read_whole=True)
        if answer is not None and answer.status in ACCEPTED:
            failed_polls = 0
            if _decode_answer(answer, QueueStatus).status == "COMPLETED":
                return None
            continue

        failed_polls += 1
        if failed_polls >= MAX_FAILED_POLLS or (answer is not None and answer.status < 500):
            return _require_answer(answer)


def _require_answer(answer: UpstreamAnswer | None) -> UpstreamAnswer:
    if answer is None:
        raise Fault("upstream_broken", "the provider's queue gave no answer")
    return answer


def _decode_answer(answer: UpstreamAnswer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault(
            "upstream_broken", f"the provider's queue gave an answer that cannot be read: {error}"
        ) from error
