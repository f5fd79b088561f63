"""How an answer streams: an event has a bound, blocks of one choice come in turn, and the money is safe before the end."""

import json

import pytest

from gatewayz.core.calls import Call, Principal
from gatewayz.core.conversation import Message, Text
from gatewayz.core.events import (
    FINISHED,
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Frame,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.core.requests import ChatRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.sequencer import Sequencer
from gatewayz.dialects.kit.sse import SseParser
from gatewayz.engine.background import ShieldedTasks
from gatewayz.engine.call_state import CallState
from gatewayz.engine.gateway import Gateway
from gatewayz.ports.books import Hold
from gatewayz.ports.limiter import Decision
from gatewayz.routing.plan import Plan
from tests.support.chat_wire import CLIENT
from tests.support.clocks import ManualClock

LIMIT_BYTES = 100
LONG = {
    "one line": [b"data: " + b"x" * 200 + b"\n\n"],
    "a line that never ends": [b"data: " + b"x" * 60] + [b"x" * 60] * 3,
    "many lines": [b"data: " + b"x" * 40 + b"\n"] * 4,
    "carriage returns": [b"data: " + b"x" * 200 + b"\r\n\r\n"],
    "a comment that never ends": [b":" + b"x" * 60] * 4,
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("first", [b"", b"data: {}\n\n"])
def test_an_event_above_the_limit_is_a_fault(name, first):
    parser = SseParser(LIMIT_BYTES)
    parser.feed(first)
    with pytest.raises(Fault) as raised:
        for chunk in LONG[name]:
            parser.feed(chunk)
    assert raised.value.kind == "upstream_broken"


@pytest.mark.parametrize("size", [1, 50, 94])
def test_events_below_the_limit_have_no_end(size):
    parser = SseParser(LIMIT_BYTES)
    for _ in range(50):
        (event,) = parser.feed(b"data: " + b"x" * (size - 1) + b"\n\n")
        assert len(event.data) == size - 1


@pytest.mark.parametrize("choices", [(0, 1), (1, 0), (0, 1, 2)])
def test_of_several_choices_the_first_is_handed_on_and_nothing_of_the_others(choices):
    sequencer, out = Sequencer(), []
    blocks = list(enumerate(choices))
    for block, choice in blocks:
        out += sequencer.feed(BlockStarted(block, Kind.TEXT, choice=choice))
    for block, choice in blocks:
        out += sequencer.feed(BlockDelta(block, f"choice {choice}"))
    for block, _ in blocks:
        out += sequencer.feed(BlockEnded(block))
    (first,) = (block for block, choice in blocks if choice == 0)
    assert {event.block for event in out} == {first}
    assert "".join(event.text for event in out if isinstance(event, BlockDelta)) == "choice 0"


def chat_call(*, streamed=True):
    return Call(
        id="01HZZZZZZZZZZZZZZZZZZZZZZZ",
        endpoint="/v1/chat/completions",
        request=ChatRequest(
            dialect="openai_chat",
            model="m",
            messages=(Message("user", (Text("Hello there"),)),),
            streamed=streamed,
            wants_usage=True,
        ),
        principal=Principal("acme", "k"),
        received_at=1_000.0,
        received_ms=0,
        deadline=2_000.0,
    )


ANSWER = [
    Frame((Started(), BlockStarted(0, Kind.TEXT))),
    Frame((BlockDelta(0, "Hello"), BlockEnded(0), ChoiceEnded(0, Stop.END, "stop"))),
]


@pytest.mark.parametrize("reports", [[1, 7], [3, 3, 9]])
def test_of_the_reports_of_an_answer_the_last_is_shown_and_once(reports):
    encoder = CLIENT.encoder(chat_call(), 1)
    frames = [
        Frame((UsageReported(Usage(input=5, output=units), final=number == len(reports)),))
        for number, units in enumerate(reports, start=1)
    ]
    sent = b"".join(encoder.feed([frame]) for frame in [*ANSWER, *frames, FINISHED])
    chunks = [json.loads(line[6:]) for line in sent.split(b"\n\n") if line.startswith(b"data: {")]
    shown = [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk.get("usage")]
    assert shown == reports[-1:]


class Stand:
    """Every port that a call meets, and what happened in which order."""

    def __init__(self, fault=None):
        self.happened = []
        self.retry_budget = self
        self._fault = fault

    def count_call(self):
        """Nobody counts."""

    def emit(self, fact):
        """Nobody looks."""

    async def take(self, _call_id, _principal):
        return Decision(allowed=True)

    def release(self, _decision):
        self.happened.append("released")

    def plan(self, request, *_):
        return Plan(model=request.model, candidates=())

    async def hold(self, call, _ceiling):
        return Hold(call.id, "acme", Nanos(10))

    async def settle(self, call, _hold, outcome, _replay=None):
        self.happened.append("settled")
        if self._fault is not None:
            raise self._fault
        return True

    async def answer(self, state):
        frames = [*ANSWER, FINISHED]
        for batch in [[one] for one in frames] if state.call.request.streamed else [frames]:
            yield batch


def gateway_at(stand):
    ports = dict.fromkeys(
        ("authenticator", "limiter", "planner", "books", "replays", "attempts", "health", "bus"),
        stand,
    )
    return Gateway(**ports, clock=ManualClock(), tasks=ShieldedTasks())


@pytest.mark.parametrize("streamed", [True, False])
async def test_the_end_of_an_answer_leaves_when_its_money_is_safe(streamed):
    stand = Stand()
    async for batch in gateway_at(stand).answer(CallState(chat_call(streamed=streamed))):
        ends = any(frame is FINISHED for frame in batch)
        stand.happened.append("end" if ends else "content")
    content = [one for one in stand.happened if one == "content"]
    assert bool(content) == streamed
    assert stand.happened == [*content, "settled", "end", "released"]


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_whose_money_is_not_safe_has_no_end(streamed):
    stand = Stand(Fault("unavailable", "neither the store nor the disk takes it"))
    batches = []
    with pytest.raises(Fault) as raised:
        async for batch in gateway_at(stand).answer(CallState(chat_call(streamed=streamed))):
            batches.append(batch)
    assert raised.value.kind == "unavailable"
    assert not [frame for batch in batches for frame in batch if frame is FINISHED]
    assert bool(batches) == streamed
