"""Attempts: candidates tried in the plan's order until one commits.

Nothing is promised before the first block (for a JSON client: before the whole reply), so a
provider that says 200 and dies is still a failover. After the commit a failure is the end: a
`Failed` frame, never another provider's text.
"""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec.structs import replace

from gatewayz.catalog.dear_buckets import may_write_cache
from gatewayz.core.calls import Attempt, Call
from gatewayz.core.clock import Clock
from gatewayz.core.events import Failed, Frame, is_end
from gatewayz.core.facts import AttemptEnded
from gatewayz.core.faults import Fault
from gatewayz.core.redaction import Redactor
from gatewayz.core.secrets import Secret
from gatewayz.core.text_bounds import MAX_DROPPED_NAME_CHARS, MAX_DROPPED_NAMES, shorten_all
from gatewayz.engine.background import ShieldedTasks
from gatewayz.engine.call_state import CallProgress, CallState
from gatewayz.engine.commit_point import (
    content_filter_end,
    fault_of_end,
    frame_bytes,
    has_commit_point,
    raise_before_commit,
    raise_no_content,
)
from gatewayz.engine.deadline import Deadline
from gatewayz.engine.health import AttemptPermit, Health
from gatewayz.engine.steps import AttemptInfo, StepResources, StepRunner
from gatewayz.ports.facts import Bus
from gatewayz.ports.tokens import AccessTokens
from gatewayz.ports.transport import Transport
from gatewayz.providers.error_classes import classify, clean_fault
from gatewayz.providers.request import RequestOptions, build_request
from gatewayz.providers.spec import TOKEN_AUTH_FORMS, Credential
from gatewayz.routing.breaker import LeaseOwner
from gatewayz.routing.candidates import Candidate, elsewhere_first, wait_fault
from gatewayz.routing.plan import Plan
from gatewayz.routing.rules import Deadlines, RoutingRules
from gatewayz.routing.verdict import RetryState, last_fault, parameters_to_drop, verdict

MAX_BUFFERED_FRAMES = 4_096
"""Frames without content before the commit; a provider that sends more is broken."""
MAX_BUFFERED_BYTES = 96 * 2**20
"""Memory of frames before the commit: of a whole answer, all of it."""
CONNECTION_REUSE_S = 0.25
"""How long the end of a finished answer is waited for, so that its connection can be used again."""
NO_CREDENTIAL = Credential(id="no credential", key=Secret(""))


class Attempts:
    """Tries candidates."""

    def __init__(
        self,
        upstream: "UpstreamClient",
        health: Health,
        rules: RoutingRules,
        clock: Clock,
        bus: Bus,
    ) -> None:
        self._upstream = upstream
        self._health = health
        self._rules = rules
        self._clock = clock
        self._bus = bus

    async def answer(self, state: CallState) -> AsyncGenerator[list[Frame], None]:
        """Batches of the candidate that committed; the client's fault is raised when none did."""
        call, progress = state.call, state.progress
        plan = state.plan or Plan(model=call.request.model, candidates=())
        queue = list(plan.queue)

        try:
            while (attempt := self._next_attempt(queue, plan, state)) is not None:
                candidate, dropped = attempt.candidate, progress.dropped_parameters
                progress.current_candidate, progress.has_open_attempt = candidate, True
                try:
                    answer = self._upstream.answer(call, candidate, attempt.info, dropped)
                    async with aclosing(answer) as batches:
                        async for frames in batches:
                            if progress.candidate is not None and not is_end(frames):
                                yield frames
                            elif ready := self._advance(attempt, frames, state):
                                yield ready
                except Fault as fault:
                    if end := self._fail(attempt, fault, state):
                        yield end
                finally:
                    progress.current_candidate = None
                    self._record_broken_off(attempt, state)

                if progress.candidate is not None:
                    return
                self._decide_next(candidate, queue, progress)
        finally:
            self._record_suspects(progress)
        model, account = call.request.model or plan.model, call.principal.account
        asked = plan.candidates or plan.waiting
        raise last_fault(progress.faults, wait_fault(model, asked, account, self._health))

    def _next_attempt(
        self, queue: list[Candidate], plan: Plan, state: CallState
    ) -> "_AttemptUnderWay | None":
        """The next candidate that its breakers admit, while there is one and somebody waits."""
        admit = self._health.admit if plan.last_resort is None else self._health.admit_last_resort
        while queue and not state.client_left:
            if self._clock.now() >= state.call.deadline:
                state.progress.faults.append(Fault("upstream_timeout", "The call's time ran out."))
                return None
            candidate = queue.pop(0)
            if self._should_skip(candidate, state.progress):
                continue
            permit = admit(candidate, LeaseOwner(state.call.id, state.call.principal.account))
            if permit is not None:
                return _AttemptUnderWay(candidate, permit, self._clock.now())
        return None

    def _should_skip(self, candidate: Candidate, progress: CallProgress) -> bool:
        failovers = len(progress.attempts) - 1
        if progress.faults and not self._health.retry_budget.spend(failovers):
            return True
        context = candidate.offer.context
        return bool(progress.min_context) and (context is None or context <= progress.min_context)

    def _advance(
        self, attempt: "_AttemptUnderWay", frames: list[Frame], state: CallState
    ) -> list[Frame]:
        """What may leave now of a batch that comes before the commit, or ends the answer.

        Raises the fault of an answer that fails before the commit.
        """
        candidate, progress = attempt.candidate, state.progress
        ended = is_end(frames)
        fault = fault_of_end(frames) if ended else None

        if progress.candidate is None:
            raise_before_commit(fault, state.call, frames)
            attempt.buffered += frames
            if not has_commit_point(state.call, frames):
                attempt.buffered_bytes += sum(map(frame_bytes, frames))
                few = MAX_BUFFERED_FRAMES if state.call.request.streamed else math.inf
                if len(attempt.buffered) > few or attempt.buffered_bytes > MAX_BUFFERED_BYTES:
                    raise_no_content(candidate)
                return []
            frames, attempt.buffered = attempt.buffered, []
            progress.candidate = candidate
            self._record_suspects(progress)
            progress.dropped = shorten_all(
                attempt.info.dropped, MAX_DROPPED_NAMES, MAX_DROPPED_NAME_CHARS
            )
            progress.first_event_at = attempt.first_event_at = self._clock.now()

        if ended:
            # The row stands before the settlement, which stores it.
            self._record(attempt, state, fault)
        return frames

    def _record_suspects(self, progress: CallProgress) -> None:
        """Tells health of the failures that the request itself may have caused.

        Where two providers have failed on it, it has: they are not told of each other's.
        """
        progress.failed_providers.update(permit.offer[0] for permit, _ in progress.suspects)
        for permit, fault in progress.suspects:
            if len(progress.failed_providers) > 1:
                self._health.forgive(permit)
            else:
                self._health.record(permit, fault, None)
        progress.suspects = []

    def _fail(self, attempt: "_AttemptUnderWay", fault: Fault, state: CallState) -> list[Frame]:
        """The client's end when an attempt breaks; nothing where another candidate may follow."""
        progress = state.progress
        if attempt.recorded:
            # It broke after its end: that stands.
            return []
        self._record(attempt, state, fault)
        if progress.candidate is not None:
            return [Frame((Failed(fault),))]
        if fault.kind == "filtered" and state.call.request.has_stop_reason:
            progress.candidate = attempt.candidate
            return content_filter_end()
        progress.faults.append(fault)
        return []

    def _decide_next(
        self, candidate: Candidate, queue: list[Candidate], progress: CallProgress
    ) -> None:
        """Decides what follows the fault that the last attempt ended in."""
        fault = progress.faults[-1]
        tried = RetryState(progress.failed_attempts, progress.dropped_parameters)
        if fault.rule.breaker == "count":
            queue[:] = elsewhere_first(queue, candidate.provider.id)
        match verdict(fault, tried, self._rules.attempts):
            case "stop":
                queue.clear()
            case "retry":
                before = progress.dropped_parameters
                progress.dropped_parameters = (*before, *parameters_to_drop(fault, before))
                queue.insert(0, candidate)
                return
            case "larger":
                progress.min_context = max(progress.min_context, candidate.offer.context or 1)
        # What one provider does not know another may.
        progress.dropped_parameters = ()

    def _record_broken_off(self, attempt: "_AttemptUnderWay", state: CallState) -> None:
        """Records an attempt that somebody else has ended, before its end or a fault."""
        if not attempt.recorded:
            # An answer that we broke off was served as far as we wanted it.
            gone = None if state.stopped else Fault("client_gone", "The client left.")
            self._record(attempt, state, gone)

    def _record(self, attempt: "_AttemptUnderWay", state: CallState, fault: Fault | None) -> None:
        """Tells health and the observers what became of an attempt, and writes its row."""
        attempt.recorded = True
        call, progress = state.call, state.progress
        progress.has_open_attempt = False
        candidate, info = attempt.candidate, attempt.info
        first_event_at, began_at = attempt.first_event_at, attempt.began_at
        first_event_ms = None if first_event_at is None else (first_event_at - began_at) * 1000
        if fault is not None and fault.is_suspected:
            progress.suspects.append((attempt.permit, fault))
            if progress.candidate is not None:
                self._record_suspects(progress)
        else:
            self._health.record(attempt.permit, fault, first_event_ms, sent=bool(info.status))

        row = Attempt(
            provider=candidate.provider.id,
            model=candidate.offer.model,
            upstream_id=candidate.offer.upstream_id,
            credential=candidate.credential.id if candidate.credential is not None else "",
            started_ms=state.ms_since_received(began_at),
            first_event_ms=None if first_event_ms is None else round(first_event_ms),
            ended_ms=state.ms_since_received(self._clock.now()),
            status=info.status,
            fault=fault.kind if fault is not None else "",
            message=fault.whole_message if fault is not None else "",
            upstream_request=info.upstream_request,
        )
        failover = bool(progress.attempts)
        progress.attempts.append(row)
        progress.failed_attempts += fault is not None and not fault.rule.free
        self._bus.emit(
            AttemptEnded(call=call.id, endpoint=call.endpoint, attempt=row, failover=failover)
        )


class _AttemptUnderWay:
    """One candidate being tried; `buffered` are the frames that wait for the commit.

    `began_at` and `first_event_at` are monotonic seconds.
    """

    def __init__(self, candidate: Candidate, permit: AttemptPermit, began_at: float) -> None:
        self.candidate = candidate
        self.permit = permit
        self.began_at = began_at
        self.info = AttemptInfo()
        self.buffered: list[Frame] = []
        self.buffered_bytes = 0
        self.first_event_at: float | None = None
        self.recorded = False


class UpstreamClient:
    """Asks one candidate over the transport, under its deadlines.

    What a provider says of a failure leaves here cleaned by the `redactor`, and nobody above has
    seen it otherwise.
    """

    def __init__(
        self,
        transport: Transport,
        tokens: AccessTokens,
        deadlines: Deadlines,
        clock: Clock,
        tasks: ShieldedTasks,
        redactor: Redactor,
    ) -> None:
        self._resources = StepResources(transport, clock, tasks, redactor)
        self._redactor = redactor
        self._tokens = tokens
        self._deadlines = deadlines
        self._clock = clock
        self._loop_time = asyncio.get_running_loop().time

    async def answer(
        self, call: Call, candidate: Candidate, info: AttemptInfo, dropped: tuple[str, ...] = ()
    ) -> AsyncGenerator[list[Frame], None]:
        """Batches as they come; the last ends with `Finished` or `Failed`, or a fault is raised.

        `dropped` are parameters that this provider is not sent. Faults: those of `AccessTokens`,
        `StepRunner` and `Transport`; `upstream_timeout` when nothing comes in time.
        """
        name, idle_s = candidate.provider.id, self._deadlines.idle_s
        wait_s = self._deadlines.first_event_s_for(call.request)
        # The call's deadline is on our clock, the timer on the loop's.
        total = self._loop_time() + call.deadline - self._clock.now()
        until = min(self._loop_time() + wait_s, total)
        why = f"{name} sent nothing within {wait_s:g} s"
        went_silent = f"{name} went silent for {idle_s:g} s"

        with Deadline(until, why) as deadline:
            try:
                steps, frames = await self._begin(call, candidate, info, dropped)
            except Fault as fault:
                raise self._clean(fault, call, info) from None
            async with steps:
                while not is_end(frames):
                    # Whoever takes the frames has deadlines of its own; the provider's clock stands
                    # still meanwhile.
                    deadline.pause()
                    yield frames
                    # Keep-alives move nothing: only content does.
                    if frames[-1].events or any(frame.events for frame in frames):
                        until, why = min(self._loop_time() + idle_s, total), went_silent
                    deadline.move(until, why)
                    try:
                        frames = await steps.next_frames()
                    except Fault as fault:
                        raise self._clean(fault, call, info) from None

                deadline.pause()
                yield self._clean_end(frames, call, candidate, info)
                deadline.move(self._loop_time() + CONNECTION_REUSE_S, "")
                await steps.drain()

    def _clean(self, fault: Fault, call: Call, info: AttemptInfo) -> Fault:
        return clean_fault(fault, self._redactor, call.request, info.secret.reveal())

    def _clean_end(
        self, frames: list[Frame], call: Call, candidate: Candidate, info: AttemptInfo
    ) -> list[Frame]:
        """The end of an answer; of one that failed, with the provider's own words understood."""
        fault = fault_of_end(frames)
        if fault is None:
            return frames
        if fault.upstream is not None:
            fault = classify(candidate.provider, fault.upstream)
        return [*frames[:-1], Frame((Failed(self._clean(fault, call, info)),))]

    async def _begin(
        self, call: Call, candidate: Candidate, info: AttemptInfo, dropped: tuple[str, ...]
    ) -> tuple[StepRunner, list[Frame]]:
        """The steps and their first frames, with a token where the credential is no key itself."""
        credential = candidate.credential
        if candidate.provider.auth not in TOKEN_AUTH_FORMS:
            return await self._begin_with(credential, call, candidate, info, dropped)

        credential, proxy = credential or NO_CREDENTIAL, candidate.provider.proxy
        token = await self._tokens.get_token(credential, proxy)
        ready = replace(credential, key=token)
        try:
            return await self._begin_with(ready, call, candidate, info, dropped)
        except Fault as fault:
            if fault.kind != "upstream_auth" or not self._tokens.invalidate(credential, token):
                raise
        # The token may have been revoked before its time: a fresh one is tried, once.
        ready = replace(credential, key=await self._tokens.get_token(credential, proxy))
        return await self._begin_with(ready, call, candidate, info, dropped)

    async def _begin_with(
        self,
        credential: Credential | None,
        call: Call,
        candidate: Candidate,
        info: AttemptInfo,
        dropped: tuple[str, ...],
    ) -> tuple[StepRunner, list[Frame]]:
        provider, offer = candidate.provider, candidate.offer
        if credential is not None:
            info.secret = credential.key
        auto_cache = may_write_cache(call.request, offer)
        options = RequestOptions(
            call.trace, dropped, offer.max_output, auto_cache, candidate.output_limit
        )
        request = build_request(call.request, provider, credential, offer.upstream_id, options)
        steps = StepRunner(request, provider, info, self._resources)
        try:
            return steps, await steps.next_frames()
        except BaseException as error:
            # Nobody else knows these steps yet: their connection is broken here.
            await steps.__aexit__(type(error), error, error.__traceback__)
            raise
