"""Every exchange is understood: providers' answers as their documentation means them."""

import pytest
from msgspec.structs import replace

from gatewayz.core.events import Failed, Kind, Stop
from gatewayz.core.faults import Fault
from gatewayz.core.grammar import violation
from gatewayz.core.replies import ReplyBuilder
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.error_classes import classify, find_unsupported_parameters
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.request import decode_options
from gatewayz.simulator.exchanges import exchange_folders, exchange_names, load_exchange
from tests.support.chat_wire import STREAM, call

PROVIDERS = providers_from(provider_rows(), {}, {})
EVERY = [(folder, name) for folder in exchange_folders() for name in exchange_names(folder)]
NAMES = [
    (folder, name)
    for folder, name in EVERY
    if not load_exchange(name, folder).means.get("skip") and "chat" in UPSTREAMS[folder].serves
]
KINDS = {
    "text": Kind.TEXT,
    "reasoning": Kind.REASONING,
    "refusal": Kind.REFUSAL,
    "audio": Kind.AUDIO,
}


def frames_of(exchange, dialect):
    provider = replace(PROVIDERS[exchange.provider], dialect=dialect)
    role = UPSTREAMS[dialect]
    if exchange.status != 200:
        headers = {name.replace("_", "-"): value for name, value in exchange.headers.items()}
        raise classify(
            provider, role.error_from_response(exchange.status, headers, exchange.content())
        )
    kind = STREAM if exchange.frames is not None else "application/json"
    decoder = role.decoder(
        kind,
        decode_options(provider, replace(call(streamed=True).request, dialect=dialect), dialect),
    )
    frames = decoder.feed(exchange.content()) + decoder.close()
    return frames


@pytest.mark.parametrize(("dialect", "name"), NAMES)
def test_an_exchange_is_understood(dialect, name):
    exchange = load_exchange(name, dialect)
    means, folder, fault = exchange.means, ReplyBuilder(), None
    try:
        frames = frames_of(exchange, dialect)
    except Fault as raised:
        frames, fault = [], raised
    events = [event for frame in frames for event in frame.events]
    assert not events or violation(events) == ""
    for event in events:
        if isinstance(event, Failed):
            fault = (
                event.fault
                if event.fault.upstream is None
                else classify(PROVIDERS[exchange.provider], event.fault.upstream)
            )
        else:
            folder.add(event)
    assert (fault.kind if fault else None) == means.get("fault")
    if fault is not None and fault.upstream is not None:
        assert find_unsupported_parameters(fault.upstream)[:1] == tuple(
            filter(None, [means.get("unsupported")])
        )
        assert fault.upstream.param == means.get(
            "param", means.get("unsupported", fault.upstream.param)
        )
    reply = folder.reply()
    texts = {
        field: "".join(block.text for block in reply.choices[0].blocks if block.kind is kind)
        for field, kind in KINDS.items()
    }
    assert texts == {field: means.get(field, "") for field in KINDS}
    tools = [
        [block.id, block.name, block.text]
        for block in reply.choices[0].blocks
        if block.kind is Kind.TOOL
    ]
    assert tools == means.get("tools", [])
    if fault is None:
        assert reply.choices[0].stop is Stop(means["stop"])
    for bucket, count in means.get("usage", {}).items():
        assert getattr(reply.usage, bucket) == count, bucket
    assert reply.cost_usd == means.get("cost_usd", "")
    sources = b"".join(frame.source or b"" for frame in frames)
    seals = [block.sealed for block in reply.choices[0].blocks if block.sealed]
    assert (b"gwz." in sources or bool(seals)) == bool(means.get("sealed"))
    assert {seal.replace("redacted:", "") for seal in seals} <= {f"gwz.{exchange.provider}.SIG"}
    assert b'"SIG"' not in sources


@pytest.mark.parametrize(("folder", "name"), EVERY)
def test_an_exchange_names_its_source(folder, name):
    exchange = load_exchange(name, folder)
    assert len(exchange.source) > 5
    assert exchange.means
    assert exchange.provider in PROVIDERS
