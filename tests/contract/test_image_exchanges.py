"""Every exchange about images is understood: the images, their form, and what is counted."""

import json

import pytest

from gatewayz.core.events import BlockDelta, Failed, UsageReported
from gatewayz.core.faults import Fault
from gatewayz.core.grammar import violation
from gatewayz.core.requests import ImageRequest
from gatewayz.dialects.kit.base import EncodeTarget, Send, UpstreamAnswer
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.error_classes import classify, find_unsupported_parameters
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.request import decode_options
from gatewayz.simulator.exchanges import exchange_folders, exchange_names, load_exchange

PROVIDERS = providers_from(provider_rows(), {}, {})
FOLDERS = [folder for folder in exchange_folders() if "image" in UPSTREAMS[folder].serves]
NAMES = [
    (folder, name)
    for folder in FOLDERS
    for name in exchange_names(folder)
    if not load_exchange(name, folder).means.get("skip")
]


def frames_of(exchange, dialect):
    """The frames of an answer that was fed to the role's steps, or the fault that it means."""
    provider, role = PROVIDERS[exchange.provider], UPSTREAMS[dialect]
    headers = {name.replace("_", "-"): value for name, value in exchange.headers.items()}
    if exchange.status != 200:
        raise classify(
            provider, role.error_from_response(exchange.status, headers, exchange.content())
        )
    request = ImageRequest(
        dialect="openai_images", model="m", prompt="p", streamed=exchange.frames is not None
    )
    if exchange.frames is not None:
        decoder = role.decoder("text/event-stream", decode_options(provider, request, dialect))
        return decoder.feed(exchange.content()) + decoder.close()
    steps = role.steps(
        request, EncodeTarget(provider=provider.id, upstream_id="owner/model", streamed=False)
    )
    assert isinstance(next(steps), Send)
    return steps.send(UpstreamAnswer(200, headers, exchange.content()))


@pytest.mark.parametrize(("dialect", "name"), NAMES)
def test_an_exchange_about_images_is_understood(dialect, name):
    exchange = load_exchange(name, dialect)
    means, frames, fault = exchange.means, [], None
    try:
        frames = frames_of(exchange, dialect)
    except Fault as raised:
        fault = raised
    events = [event for frame in frames for event in frame.events]
    assert not events or violation(events) == ""
    if events and isinstance(events[-1], Failed):
        failure = events.pop().fault
        fault = (
            failure
            if failure.upstream is None
            else classify(PROVIDERS[exchange.provider], failure.upstream)
        )
    assert (fault.kind if fault else None) == means.get("fault")
    if fault is not None and fault.upstream is not None:
        assert find_unsupported_parameters(fault.upstream)[:1] == tuple(
            filter(None, [means.get("unsupported")])
        )
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
