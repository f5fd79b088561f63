"""Inference: from an ASGI request to a call and back, in every client dialect. The hot path."""

import asyncio
import re
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.access import can_access
from gatewayz.core.calls import Call, Principal, new_ulid, own_traceparent
from gatewayz.core.clock import Clock
from gatewayz.core.facts import CallRefused, Warned
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest, Surface
from gatewayz.core.text_bounds import check_models
from gatewayz.dialects.kit.base import ClientRole
from gatewayz.dialects.kit.jsontext import MAX_VALUES, check_structure
from gatewayz.engine.call_state import CallState
from gatewayz.engine.gateway import Gateway
from gatewayz.ports.facts import Bus
from gatewayz.routing.rules import Deadlines
from gatewayz.web.asgi import (
    ClientDisconnectedError,
    Receive,
    Scope,
    Send,
    headers_from_scope,
    read_body,
    wait_for_disconnect,
)
from gatewayz.web.client_address import address_from_scope
from gatewayz.web.idempotency_key import idempotency_key, request_fingerprint
from gatewayz.web.labels import tags_from_request, user_from_request
from gatewayz.web.request_bodies import check_charset, decode_body
from gatewayz.web.respond import (
    INTERNAL,
    ResponseWriter,
    StreamTiming,
    call_headers,
    fault_headers,
    send_response,
)

MAX_BODY_BYTES = 32 * 2**20
LARGE_BODY_BYTES = 512 * 2**10
"""A larger body is decoded in a thread, so that other calls go on."""
MAX_LARGE_BODIES = 2
"""How many large bodies are decoded at a time; the others wait for their turn."""
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
MAX_TIMEOUT_MS = 3_600_000
SHUTTING_DOWN = "This server is shutting down; send the request again."


class InferenceRules(Struct, frozen=True, kw_only=True):
    """Bounds of inference requests."""

    body_bytes: int = MAX_BODY_BYTES
    body_values: int = MAX_VALUES
    timing: StreamTiming = StreamTiming()
    deadlines: Deadlines = Deadlines()
    default_model: Callable[[Surface, Principal], str] = lambda *_: ""
    trusted_proxies: tuple[str, ...] = ()


class RunningCall(Struct, eq=False):
    """A request that is running: its task, and why it was ended if it was."""

    task: "asyncio.Task[object] | None"
    state: CallState | None = None
    client_left: bool = False
    shut_down: bool = False


class _InboundRequest(Struct, frozen=True):
    """The parts of a request that a call is built from."""

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
        self._large_bodies = asyncio.Semaphore(MAX_LARGE_BODIES)
        self.running: set[RunningCall] = set()

    async def serve(self, role: ClientRole, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, until the client has its answer or has left, and the call is settled."""
        call_id = new_ulid()
        headers = headers_from_scope(scope)
        running = RunningCall(asyncio.current_task())
        self.running.add(running)
        try:
            address = self.client_address(scope, headers)
            principal = await self._gateway.principal_from_headers(headers, address)
            body = await read_body(receive, headers, self._rules.body_bytes)
            check_charset(headers.get("content-type", ""))
            if encoding := headers.get("content-encoding"):
                async with self._large_bodies:
                    body = await asyncio.to_thread(
                        decode_body, body, encoding, self._rules.body_bytes
                    )
            inbound = _InboundRequest(call_id, scope["path"], headers, body, address)
            if len(body) <= LARGE_BODY_BYTES:
                call = self._build_call(inbound, role, principal)
            else:
                async with self._large_bodies:
                    call = await asyncio.to_thread(self._build_call, inbound, role, principal)
        except Fault as fault:
            await self._refuse(fault, role, scope["path"], call_id, send)
        except asyncio.CancelledError:
            # Ended while its body was still on the way; whatever else cancels is not ours to answer.
            if not running.shut_down:
                raise
            ending = Fault("unavailable", SHUTTING_DOWN, retry_after_s=1.0)
            await self._refuse(ending, role, scope["path"], call_id, send)
        except ClientDisconnectedError:
            return
        else:
            await self._serve_call(call, role, receive, send, running)
        finally:
            self.running.discard(running)

    async def _refuse(
        self, fault: Fault, role: ClientRole, endpoint: str, call_id: str, send: Send
    ) -> None:
        response = role.error_response(fault, call_id)
        self._bus.emit(
            CallRefused(id=call_id, endpoint=endpoint, fault=fault.kind, status=response.status)
        )
        await send_response(send, response, call_headers(call_id) + fault_headers(fault))

    def client_address(self, scope: Scope, headers: dict[str, str]) -> str:
        """Where a request comes from; empty when nobody knows."""
        return address_from_scope(scope, headers, self._rules.trusted_proxies)

    def _build_call(self, inbound: _InboundRequest, role: ClientRole, principal: Principal) -> Call:
        if not can_access(principal.scopes, "inference"):
            raise Fault("forbidden", "This key may not be used for inference.")

        check_structure(inbound.body, self._rules.body_values)
        request = role.decode(inbound.body, inbound.headers)
        if not request.model:
            model = self._rules.default_model(request.surface, principal)
            if not model:
                raise Fault("bad_request", "Missing required parameter: 'model'.", param="model")
            request = replace(request, model=model)

        if isinstance(request, ChatRequest) and not request.caching and principal.caching:
            request = replace(request, caching=principal.caching)
        check_models(request.model, request.models)
        key = idempotency_key(inbound.headers)
        now = self._clock.now()
        deadlines = self._rules.deadlines
        total_s = deadlines.stream_total_s if request.streamed else deadlines.total_s
        return Call(
            id=inbound.call_id,
            endpoint=inbound.path,
            request=request,
            principal=principal,
            address=inbound.address,
            received_at=now,
            received_ms=self._clock.wall_ms(),
            deadline=now + min(total_s, _timeout_s(inbound.headers, total_s)),
            trace=traceparent_from_header(inbound.headers.get("traceparent", ""), inbound.call_id),
            body_bytes=len(inbound.body),
            idempotency_key=key,
            fingerprint=request_fingerprint(principal, inbound.path, inbound.body) if key else "",
            tags=tags_from_request(inbound.headers, request),
            user=user_from_request(inbound.headers, request),
        )

    async def _serve_call(
        self, call: Call, role: ClientRole, receive: Receive, send: Send, running: RunningCall
    ) -> None:
        state = CallState(call)
        writer = ResponseWriter(role, state, send, self._rules.timing)
        running.state = state
        watcher = asyncio.get_running_loop().create_task(
            self._watch_client(receive, running, writer)
        )
        try:
            await writer.write_answer(self._gateway.answer(state))
        except asyncio.CancelledError:
            if running.shut_down:
                await writer.fail(Fault("unavailable", SHUTTING_DOWN, retry_after_s=1.0))
            elif not running.client_left:
                # Cancelled by the server itself: there is nobody to answer.
                raise
        # Around a whole call: whatever fails, the client gets an end and the log a line.
        except Exception as error:  # noqa: BLE001
            message = f"{call.id}: {error_origin(error)}"
            self._bus.emit(Warned(subject="call_failed", message=message))
            with suppress(Exception):
                await writer.fail(Fault("internal", INTERNAL))
        finally:
            watcher.cancel()

    async def _watch_client(
        self, receive: Receive, running: RunningCall, writer: ResponseWriter
    ) -> None:
        """Ends the request's task when the client leaves, unless its answer is finished."""
        await wait_for_disconnect(receive)
        task, state = running.task, running.state
        if task is None or state is None or task.done() or writer.finished:
            return

        running.client_left = True
        if self._gateway.start_drain(state, task):
            # The answer is read to its end for its usage, and nothing of it is sent any more.
            writer.finished = True
        else:
            task.cancel()

    def end_drains(self) -> None:
        """Ends the calls whose clients left, and which are only read for their usage."""
        self._gateway.usage_drains.stop()

    def end_running(self) -> None:
        """Ends every call that is still running, each with its dialect's typed end."""
        for running in list(self.running):
            if running.task is not None and not running.client_left:
                running.shut_down = True
                if running.state is not None:
                    self._gateway.interrupt(running.state, Fault("unavailable", SHUTTING_DOWN))
                running.task.cancel()


def error_origin(error: Exception) -> str:
    """What failed, and where; its words may quote the request, so they are not in the log."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[:-4:-1])
    return f"{type(error).__name__} at {where}"


def _timeout_s(headers: dict[str, str], longest_s: float) -> float:
    text = headers.get("x-request-timeout-ms", "")
    if not text:
        return longest_s
    if not text.isdigit() or not 0 < int(text) <= MAX_TIMEOUT_MS:
        raise Fault(
            "bad_request",
            f"X-Request-Timeout-Ms must be from 1 to {MAX_TIMEOUT_MS}, not {text[:40]!r}.",
        )
    return int(text) / 1000


def traceparent_from_header(header: str, call_id: str) -> str:
    """The client's `traceparent` if it is valid (W3C Trace Context), otherwise the call's own."""
    if header and TRACEPARENT.fullmatch(header):
        return header
    return own_traceparent(call_id)
