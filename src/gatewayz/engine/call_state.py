"""The state of a call: what is known of it so far, enough to answer its client and to settle it
whenever it ends.

One call, three objects, each with one writer; everybody else only reads:

| object | written by | holds |
|---|---|---|
| `CallState` | the gateway and its settlement | limits, plan, hold, interruption, what was booked |
| `CallProgress` | the attempts | which candidate serves, what was tried, which faults were met |
| `UsageMeter` | the frames of the answer | bytes, usage, cost, how the answer ended |
"""

import asyncio
import math

from gatewayz.catalog.offers import Offer
from gatewayz.core.calls import Attempt, Call, Outcome
from gatewayz.core.events import Frame
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.engine.charge import Allowance
from gatewayz.engine.health import AttemptPermit
from gatewayz.engine.output_limits import CallEstimate, output_bound
from gatewayz.engine.replay import ReplayRecorder
from gatewayz.engine.usage_meter import UsageMeter
from gatewayz.ports.books import Hold
from gatewayz.ports.limiter import Decision
from gatewayz.ports.replays import StoredReply
from gatewayz.routing.candidates import Candidate
from gatewayz.routing.plan import Plan


class CallProgress:
    """What a call's attempts have come to; written by `attempts.py` only.

    `current_candidate` is being tried, and has no row yet while `has_open_attempt`; `candidate` is
    the one that committed: from then on no other may answer. `dropped` names the client's fields
    that were not sent to it, `dropped_parameters` what the next attempt leaves out because its
    provider does not know it. `failed_attempts` counts those that reached a provider and failed
    there. An offer whose context is not larger than `min_context` tokens has no use for this call.
    `suspects` are failures that the request itself may have caused, which health is yet to be told
    of, and `failed_providers` where there were any.

    Example after one failover: `attempts` holds the rows of `openai` (fault `upstream_error`) and,
    once its answer has ended, of `azure-openai`; `candidate` is the latter, `faults` is
    `[Fault("upstream_error", …)]`.
    """

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.faults: list[Fault] = []
        self.failed_attempts = 0
        self.current_candidate: Candidate | None = None
        self.has_open_attempt = False
        self.candidate: Candidate | None = None
        self.first_event_at: float | None = None
        """Monotonic seconds: when the first block was promised."""
        self.dropped: tuple[str, ...] = ()
        self.dropped_parameters: tuple[str, ...] = ()
        self.min_context = 0
        self.suspects: list[tuple[AttemptPermit, Fault]] = []
        self.failed_providers: set[str] = set()


class CallState:
    """One call under way; written by `gateway.py` and, for what the books say, by `settlement.py`.

    `admitted`: it is within its limits and no replay, so it gets a record. `extend_at_bytes`: bytes
    of output after which the hold is to be extended. `stopped`: we broke the answer off, because
    nobody pays for more of it; `client_left`: its client did, and it is only read for what it
    costs. `claimed`: its idempotency key is taken. `replayed`: an answer from before is given
    again. `cost` and `settled_outcome` are set once the money is safe.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.meter = UsageMeter(call)
        self.progress = CallProgress()

        # The gateway, in the order of a call's life.
        self.decision: Decision | None = None
        self.admitted = False
        self.conversation = ""
        self.plan: Plan | None = None
        self.estimate: CallEstimate | None = None
        self.hold: Hold | None = None
        self.allowance: Allowance | None = None
        self.extend_at_bytes = math.inf
        self.stopped = False
        self.client_left = False
        self.interruption: Fault | None = None

        # The settlement.
        self.claimed = False
        self.replayed: StoredReply | None = None
        self.replay_recorder: ReplayRecorder | None = None
        self.settlement_task: asyncio.Task[Fault | None] | None = None
        self.cost: Nanos | None = None
        self.settled_outcome: Outcome | None = None

    @property
    def fault(self) -> Fault | None:
        """Why the call did not succeed: what interrupted it, or its answer's own fault."""
        return self.interruption or self.meter.failure

    @property
    def offer(self) -> Offer | None:
        """The offer whose answer the client is given; nothing while nothing is promised."""
        candidate = self.progress.candidate
        return candidate.offer if candidate is not None else None

    @property
    def served(self) -> str:
        """The provider whose answer the client is given; empty while nothing is promised."""
        candidate = self.progress.candidate
        return candidate.provider.id if candidate is not None else ""

    def watch_allowance(self, allowance: Allowance) -> bool:
        """Whether the output is within the allowance; then it says when to look again."""
        left = allowance.bytes_until_due(self.meter.output_tokens)
        self.extend_at_bytes = self.meter.output_bytes + left
        return left > 0

    @property
    def is_covered(self) -> bool:
        """Whether what is held pays for more of the answer."""
        return self.meter.output_bytes < self.extend_at_bytes

    def interrupt(self, fault: Fault) -> None:
        """Says why the call ends before its answer does; the first reason counts."""
        if self.fault is None:
            self.interruption = fault

    def watch(self, frames: list[Frame]) -> list[Frame]:
        """Counts and records a batch of the answer; returns it with our cost put in, up to where
        more is to be held.
        """
        candidate = self.progress.candidate
        if candidate is None:
            frames = self.meter.watch(frames, None)
        else:
            if not self.meter.is_bounded:
                self.meter.bound_output(output_bound(self.call.request, candidate))
            frames = self.meter.watch(frames, candidate.offer, self.extend_at_bytes)
        if self.replay_recorder is not None:
            self.replay_recorder.record(frames)
        return frames

    def break_off(self) -> list[Frame]:
        """The frames that end an answer for which nothing more can be held."""
        self.extend_at_bytes = math.inf
        return self.watch(self.meter.break_off(self.offer))

    def ms_since_received(self, now: float) -> int:
        """Milliseconds since the call came in, as of `now` (monotonic seconds)."""
        return round((now - self.call.received_at) * 1000)
