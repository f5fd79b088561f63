"""Inference: from an ASGI request to a call and back, for every client dialect. Plain ASGI, the hot path."""

import asyncio
import os
import re
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.access import may
from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.clock import Clock
from gatewayz.core.facts import CallRefused, Warned
from gatewayz.core.faults import Fault
from gatewayz.dialects.base import ClientRole
from gatewayz.engine.gateway import Gateway
from gatewayz.engine.tally import Tally
from gatewayz.ports.facts import Bus
from gatewayz.routing.rules import Deadlines
from gatewayz.web.address import address_of
from gatewayz.web.asgi import ClientLeftError, Receive, Scope, Send, body_of, headers_of
from gatewayz.web.labels import tags_told, user_told
from gatewayz.web.repeats import fingerprint, key_of
from gatewayz.web.respond import Delivery, Pace, call_headers, refuse, retry_headers

MAX_BODY_BYTES = 32 * 2**20
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
LONGEST_TIMEOUT_MS = 3_600_000
DRAINED = "This server is shutting down; send the request again."


class InferenceRules(Struct, frozen=True, kw_only=True):
    """Bounds of inference requests."""

    body_bytes: int = MAX_BODY_BYTES
    pace: Pace = Pace()
    deadlines: Deadlines = Deadlines()
    default_models: dict[str, str] = {}
    trusted_proxies: tuple[str, ...] = ()


class Running(Struct, eq=False):
    """A request under way: its task, and why it was ended if it was."""

    task: "asyncio.Task[object] | None"
    tally: Tally | None = None
    left: bool = False
    drained: bool = False


class _Received(Struct, frozen=True):
    """What came in over the wire."""

    call_id: str
    path: str
    headers: dict[str, str]
    body: bytes
    address: str


class Inference:
    """Serves calls in every client dialect."""

    def __init__(self, gateway: Gateway, rules: InferenceRules, clock: Clock, bus: Bus) -> None:
        self._gateway = gateway
        self._rules = rules
        self._clock = clock
        self._bus = bus
        self.running: set[Running] = set()

    async def serve(self, role: ClientRole, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Returns when the client has its answer or has left, and the call is settled."""
        call_id = new_ulid()
        headers = headers_of(scope)
        running = Running(asyncio.current_task())
        self.running.add(running)
        try:
            address = self.address(scope, headers)
            principal = await self._gateway.who(headers, address)
            body = await body_of(receive, headers, self._rules.body_bytes)
            call = self._call(
                _Received(call_id, scope["path"], headers, body, address), role, principal
            )
        except Fault as fault:
            self._bus.emit(
                CallRefused(
                    id=call_id, endpoint=scope["path"], fault=fault.kind, status=fault.rule.status
                )
            )
            await refuse(
                send, role.refusal(fault, call_id), call_headers(call_id) + retry_headers(fault)
            )
        except ClientLeftError:
            return
        else:
            await self._answer(call, role, receive, send, running)
        finally:
            self.running.discard(running)

    def address(self, scope: Scope, headers: dict[str, str]) -> str:
        """Where a request comes from; empty when nobody knows."""
        return address_of(scope, headers, self._rules.trusted_proxies)

    def _call(self, received: "_Received", role: ClientRole, principal: Principal) -> Call:
        if not may(principal.scopes, "inference"):
            raise Fault("forbidden", "This key may not be used for inference.")
        request = role.decode(received.body, received.headers)
        if not request.model:
            model = self._rules.default_models.get(request.surface, "")
            if not model:
                raise Fault("bad_request", "Missing required parameter: 'model'.", param="model")
            request = replace(request, model=model)
        key = key_of(received.headers)
        now = self._clock.now()
        deadlines = self._rules.deadlines
        total_s = deadlines.stream_total_s if request.streamed else deadlines.total_s
        return Call(
            id=received.call_id,
            endpoint=received.path,
            request=request,
            principal=principal,
            address=received.address,
            received_at=now,
            received_ms=self._clock.wall_ms(),
            deadline=now + min(total_s, _timeout_s(received.headers, total_s)),
            trace=trace_of(received.headers.get("traceparent", "")),
            body_bytes=len(received.body),
            idempotency_key=key,
            fingerprint=fingerprint(principal, received.path, received.body) if key else "",
            tags=tags_told(received.headers, request),
            user=user_told(received.headers, request),
        )

    async def _answer(
        self, call: Call, role: ClientRole, receive: Receive, send: Send, running: Running
    ) -> None:
        tally = Tally(call)
        delivery = Delivery(call, role, tally, send, self._rules.pace)
        running.tally = tally
        watcher = asyncio.get_running_loop().create_task(self._left(receive, running, delivery))
        try:
            await delivery.deliver(self._gateway.answer(call, tally))
        except asyncio.CancelledError:
            if running.drained:
                await delivery.fail(Fault("unavailable", DRAINED, retry_after_s=1.0))
            elif not running.left:
                # Cancelled by the server itself: there is nobody to tell.
                raise
        except Exception as error:  # noqa: BLE001 - the catch-all around a call: the client gets an end, we get a line
            where = f"{type(error).__name__}: {error}"
            self._bus.emit(Warned(subject="call_failed", message=f"{call.id}: {where}"))
            with suppress(Exception):
                await delivery.fail(
                    Fault("internal", "The gateway failed; the request id tells its operator why.")
                )
        finally:
            watcher.cancel()

    async def _left(self, receive: Receive, running: Running, delivery: Delivery) -> None:
        """Ends the request's task when the client leaves, in whatever phase it is but the last."""
        while (await receive())["type"] != "http.disconnect":
            pass
        task, tally = running.task, running.tally
        if task is None or tally is None or task.done() or delivery.over:
            return
        running.left = True
        if self._gateway.goes_on(tally, task):
            delivery.over = True
        else:
            task.cancel()

    def end_drains(self) -> None:
        """Ends the calls that nobody hears."""
        self._gateway.drains.end()

    def end_running(self) -> None:
        """Ends every call that is still running, each with its dialect's typed end."""
        for running in list(self.running):
            if running.task is not None and not running.left:
                running.drained = True
                if running.tally is not None and running.tally.fault is None:
                    running.tally.fault = Fault("unavailable", DRAINED)
                running.task.cancel()


def _timeout_s(headers: dict[str, str], longest_s: float) -> float:
    said = headers.get("x-request-timeout-ms", "")
    if not said:
        return longest_s
    if not said.isdigit() or not 0 < int(said) <= LONGEST_TIMEOUT_MS:
        raise Fault(
            "bad_request",
            f"X-Request-Timeout-Ms must be from 1 to {LONGEST_TIMEOUT_MS}, not {said!r}.",
        )
    return int(said) / 1000


def trace_of(given: str) -> str:
    """The client's `traceparent` when it is one (W3C Trace Context), otherwise a new one."""
    if given and TRACEPARENT.fullmatch(given):
        return given
    made = os.urandom(24).hex()
    return f"00-{made[:32]}-{made[32:]}-01"
