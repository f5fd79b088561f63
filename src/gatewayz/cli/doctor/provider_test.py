"""`gatewayz providers test`: one real call to one provider with each of its keys."""

import time

from msgspec.structs import replace
from rich.console import Console

from gatewayz.assemble import Assembly, assemble
from gatewayz.catalog.offers import Offer
from gatewayz.cli.catalog import load_overrides, load_providers
from gatewayz.cli.loop import run_loop
from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.clock import SystemClock
from gatewayz.core.conversation import Message, Text
from gatewayz.core.events import Failed
from gatewayz.core.faults import Fault
from gatewayz.core.replies import Reply, ReplyBuilder
from gatewayz.core.requests import ChatRequest
from gatewayz.engine.attempts import UpstreamClient
from gatewayz.engine.steps import AttemptInfo
from gatewayz.providers.spec import Provider
from gatewayz.routing.candidates import Candidate
from gatewayz.settings import DatabaseSettings, LoadedSettings, ObserveSettings
from gatewayz.store.sql.database import MEMORY

TIMEOUT_S = 60.0
PROMPT = "Answer with one word: ready"
MAX_OUTPUT_TOKENS = 64
MAX_TEXT_SHOWN = 200


def test_provider(loaded: LoadedSettings, name: str, model: str) -> int:
    """Exit status 0 when the provider answered to each key. Faults: `bad_request`, `unavailable`."""
    providers = load_providers(loaded, load_overrides(loaded))
    # Asking a provider makes neither a database nor a key in it.
    settings = replace(
        loaded.settings,
        database=DatabaseSettings(url=MEMORY),
        bootstrap_key="",
        observe=ObserveSettings(log="off"),
    )
    alone = replace(loaded, settings=settings)
    return run_loop(lambda: _test_provider(alone, providers, name, model))


async def _test_provider(
    loaded: LoadedSettings, providers: dict[str, Provider], name: str, model: str
) -> int:
    async with assemble(loaded) as assembly:
        provider = providers.get(name)
        if provider is not None and provider.built_in:
            provider = assembly.catalog.providers[name]
        if provider is None:
            raise Fault(
                "bad_request", f"There is no provider {name!r}; `gatewayz providers` lists them."
            )
        if provider.off:
            raise Fault("unavailable", f"{name} is off: {provider.off}.")

        upstream_id = model or _any_model_of(provider, assembly)
        statuses = [
            await _ask(
                assembly.upstream,
                _probe_call(upstream_id),
                Candidate(
                    offer=Offer(model=upstream_id, provider=name, upstream_id=upstream_id),
                    provider=provider,
                    credential=credential,
                ),
            )
            for credential in provider.credentials or (None,)
        ]
        return max(statuses)


def _any_model_of(provider: Provider, assembly: Assembly) -> str:
    """The first of the provider's models in the catalogue. Faults: `bad_request` for none."""
    for model in assembly.catalog.models.values():
        for offer in model.offers:
            if offer.provider == provider.id:
                return offer.upstream_id
    if provider.built_in:
        return "echo"
    raise Fault("bad_request", f"Say which of {provider.id}'s models to ask: --model NAME.")


def _probe_call(upstream_id: str) -> Call:
    clock = SystemClock()
    now = clock.now()
    return Call(
        id=new_ulid(),
        endpoint="probe",
        request=ChatRequest(
            dialect="openai_chat",
            model=upstream_id,
            messages=(Message("user", (Text(PROMPT),)),),
            max_output=MAX_OUTPUT_TOKENS,
        ),
        principal=Principal("house", "probe"),
        received_at=now,
        received_ms=clock.wall_ms(),
        deadline=now + TIMEOUT_S,
    )


async def _ask(upstream: UpstreamClient, call: Call, candidate: Candidate) -> int:
    console = Console(highlight=False)
    name, started_at = _tested_name(candidate), time.monotonic()
    info = AttemptInfo()
    try:
        reply = await _whole_reply(upstream, call, candidate, info)
    except Fault as fault:
        words = fault.upstream.message if fault.upstream is not None else ""
        quote = f' It said: "{words}"' if words else ""
        status = f" (HTTP {info.status})" if info.status else ""
        why = f"{fault.kind}: {fault.message.rstrip('.')}.{quote}{status}"
        console.print(f"[bold red]{name} failed[/bold red]: {why}")
        return 1

    took_ms = (time.monotonic() - started_at) * 1000
    text = "".join(block.text for block in reply.choices[0].blocks)
    usage = "no usage reported"
    if reply.usage is not None:
        usage = f"{reply.usage.prompt} + {reply.usage.completion} tokens"
    console.print(
        f"{name} answered {text[:MAX_TEXT_SHOWN]!r} "
        f"({took_ms:.0f} ms, {usage}, model {reply.model})",
        markup=False,
    )
    return 0


def _tested_name(candidate: Candidate) -> str:
    """The provider, and which of its keys where it has several."""
    provider, credential = candidate.provider, candidate.credential
    if credential is None or len(provider.credentials) == 1:
        return provider.id
    return f"{provider.id} with {credential.id}"


async def _whole_reply(
    upstream: UpstreamClient, call: Call, candidate: Candidate, info: AttemptInfo
) -> Reply:
    """The answer as a value. Faults: whatever the provider answered with instead."""
    builder = ReplyBuilder()
    async for frames in upstream.answer(call, candidate, info):
        for frame in frames:
            for event in frame.events:
                if isinstance(event, Failed):
                    raise event.fault
                builder.add(event)
    return builder.reply()
