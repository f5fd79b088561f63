"""`gatewayz providers test`: one real call to one provider."""

import time

from rich.console import Console

from gatewayz.assemble import assembled
from gatewayz.catalog.offers import Offer
from gatewayz.cli.serving import run_loop
from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.clock import SystemClock
from gatewayz.core.conversation import Message, Text
from gatewayz.core.events import Failed
from gatewayz.core.faults import Fault
from gatewayz.core.replies import Folder
from gatewayz.core.requests import ChatRequest
from gatewayz.engine.attempt import Asker
from gatewayz.engine.errand import Heard
from gatewayz.routing.plan import Candidate
from gatewayz.settings import Loaded, loaded

TIME_S = 60.0


def probe(config: str, name: str, model: str) -> int:
    """Exit status 0 when the provider answered."""
    found = loaded(config)
    return run_loop(lambda: _probe(found, name, model))


async def _probe(found: Loaded, name: str, model: str) -> int:
    console = Console(highlight=False)
    async with assembled(found) as built:
        provider = built.providers.get(name)
        if provider is None:
            raise Fault(
                "bad_request", f"There is no provider {name!r}; `gatewayz providers` lists them."
            )
        if provider.off:
            raise Fault("unavailable", f"{name} is off: {provider.off}.")
        known = [
            offer
            for one in built.shelf.models.values()
            for offer in one.offers
            if offer.provider == name
        ]
        asked = model or (known[0].upstream_id if known else "echo" if provider.built_in else "")
        if not asked:
            raise Fault("bad_request", f"Say which of {name}'s models to ask: --model NAME.")
        request = ChatRequest(
            dialect="openai_chat",
            model=asked,
            messages=(Message("user", (Text("Answer with one word: ready"),)),),
            max_output=64,
        )
        clock = SystemClock()
        now = clock.now()
        call = Call(
            id=new_ulid(),
            endpoint="probe",
            request=request,
            principal=Principal("house", "probe"),
            received_at=now,
            received_ms=clock.wall_ms(),
            deadline=now + TIME_S,
        )
        held = provider.credentials[0] if provider.credentials else None
        candidate = Candidate(
            offer=Offer(model=asked, provider=name, upstream_id=asked),
            provider=provider,
            credential=held,
        )
        return await _answered(console, built.asker, call, candidate)


async def _answered(console: Console, asker: Asker, call: Call, candidate: Candidate) -> int:
    heard, folder, began = Heard(), Folder(), time.monotonic()
    name = candidate.provider.id
    try:
        async for frames in asker.answer(call, candidate, heard):
            for frame in frames:
                for event in frame.events:
                    if isinstance(event, Failed):
                        raise event.fault
                    folder.add(event)
    except Fault as fault:
        said = (
            f' It said: "{fault.upstream.message}"'
            if fault.upstream is not None and fault.upstream.message
            else ""
        )
        console.print(
            f"[bold red]{name} failed[/bold red]: {fault.kind}: {fault.message}.{said} (HTTP {heard.status})"
        )
        return 1
    reply = folder.reply()
    text = "".join(block.text for block in reply.choices[0].blocks)
    usage = (
        f"{reply.usage.prompt} + {reply.usage.completion} tokens"
        if reply.usage is not None
        else "no usage reported"
    )
    took_ms = (time.monotonic() - began) * 1000
    console.print(
        f"{name} answered {text[:200]!r} ({took_ms:.0f} ms, {usage}, model {reply.model})",
        markup=False,
    )
    return 0
