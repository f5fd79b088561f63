"""Every exchange about images means what it says: what is made, in which form, and what is counted for the bill."""

import json

import pytest

from gatewayz.core.events import BlockDelta, Failed, UsageReported
from gatewayz.core.faults import Fault
from gatewayz.core.grammar import violation
from gatewayz.core.requests import ImageRequest
from gatewayz.dialects.base import Answer, Asking, Send
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.asking import reading_of
from gatewayz.providers.classify import classify, unsupported_parameter
from gatewayz.providers.registry import providers_from, rows
from gatewayz.simulator.exchanges import exchange_names, folders, load_exchange

PROVIDERS = providers_from(rows(), {}, {})
FOLDERS = [folder for folder in folders() if "image" in UPSTREAMS[folder].serves]
NAMES = [
    (folder, name)
    for folder in FOLDERS
    for name in exchange_names(folder)
    if not load_exchange(name, folder).means.get("skip")
]


def heard(exchange, dialect):
    """The frames of an answer that was fed to the role's steps, or the fault that it means."""
    provider, role = PROVIDERS[exchange.provider], UPSTREAMS[dialect]
    headers = {name.replace("_", "-"): value for name, value in exchange.headers.items()}
    if exchange.status != 200:
        raise classify(provider, role.refused(exchange.status, headers, exchange.content()))
    request = ImageRequest(
        dialect="openai_images", model="m", prompt="p", streamed=exchange.frames is not None
    )
    if exchange.frames is not None:
        decoder = role.decoder("text/event-stream", reading_of(provider, request, dialect))
        return decoder.feed(exchange.content()) + decoder.close()
    steps = role.steps(
        request, Asking(provider=provider.id, upstream_id="owner/model", streamed=False)
    )
    assert isinstance(next(steps), Send)
    return steps.send(Answer(200, headers, exchange.content()))


@pytest.mark.parametrize(("dialect", "name"), NAMES)
def test_an_exchange_about_images_is_understood(dialect, name):
    exchange = load_exchange(name, dialect)
    means, frames, fault = exchange.means, [], None
    try:
        frames = heard(exchange, dialect)
    except Fault as met:
        fault = met
    events = [event for frame in frames for event in frame.events]
    assert not events or violation(events) == ""
    if events and isinstance(events[-1], Failed):
        said = events.pop().fault
        fault = (
            said if said.upstream is None else classify(PROVIDERS[exchange.provider], said.upstream)
        )
    assert (fault.kind if fault else None) == means.get("fault")
    if fault is not None and fault.upstream is not None:
        assert unsupported_parameter(fault.upstream) == means.get("unsupported", "")
        assert fault.upstream.param == means.get(
            "param", means.get("unsupported", fault.upstream.param)
        )
    images = [event for event in events if isinstance(event, BlockDelta) and event.text]
    assert sum(image.text.startswith("https://") for image in images) == means.get("urls", 0)
    assert sum(
        image.text.startswith("data:image/png;base64,iVBOR") for image in images
    ) == means.get("bytes", 0)
    if images:
        assert (images[0].extra or {}).get("revised_prompt", "") == means.get("revised", "")
        usage = next(event.usage for event in events if isinstance(event, UsageReported))
        assert {bucket: getattr(usage, bucket) for bucket in means["usage"]} == means["usage"]
    sources = [frame.source for frame in frames if frame.source is not None]
    assert all(json.loads(source) for source in sources)
    assert means.get("kept", "").encode() in b"".join(sources)
