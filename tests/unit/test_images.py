"""Images: oddities of providers, sizes read from bytes, steps that fetch and poll, cut streams."""

import base64
import itertools
import json
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.events import BlockDelta, Failed, Finished, UsageReported
from gatewayz.core.faults import Fault
from gatewayz.core.money import cost
from gatewayz.core.requests import ImageRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.base import (
    DecodeOptions,
    EncodeTarget,
    OnAbort,
    Send,
    UpstreamAnswer,
    Wait,
)
from gatewayz.dialects.kit.files import fetch_file
from gatewayz.dialects.kit.image_header import image_media_type, image_size
from gatewayz.dialects.openai.images.request import request_from_wire, request_to_wire
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from gatewayz.providers.headers import own_hosts
from gatewayz.providers.quirks import apply_quirks
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import ProviderSettings, Quirks
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.images import png
from tests.support.prices import price_from_usd

BODY = {
    "model": "m",
    "prompt": "p",
    "size": "640x480",
    "quality": "hd",
    "response_format": "b64_json",
    "seed": 1,
}


@pytest.mark.parametrize(
    ("quirks", "changed", "gone"),
    [
        ({}, {}, ()),
        ({"image_size": "width_height"}, {"size": None, "width": 640, "height": 480}, ()),
        ({"image_size": "aspect_ratio"}, {"size": None, "aspect_ratio": "4:3"}, ()),
        ({"image_bytes_word": "base64"}, {"response_format": "base64"}, ()),
        ({"image_bytes_only": True}, {"response_format": "b64_json"}, ()),
        ({"image_drop": ("seed",)}, {"seed": None}, ("seed",)),
        (
            {"image_drop_by_model": {"^m$": ("quality",), "^other": ("seed",)}},
            {"quality": None},
            ("quality",),
        ),
        ({"image_quality_by_model": {"^m": {"hd": "high"}}}, {"quality": "high"}, ()),
        ({"drop": ("seed",), "allow_only": ("messages",), "extra_body": {"usage": {}}}, {}, ()),
    ],
)
def test_oddities_change_the_body_and_name_what_is_lost(quirks, changed, gone):
    body = dict(BODY)
    assert apply_quirks(body, Quirks(**quirks), "m", "openai_images") == gone
    assert body == {name: value for name, value in (BODY | changed).items() if value is not None}


def test_the_form_of_embeddings_is_said_where_it_is_understood():
    for known, left in ((True, {"encoding_format": "base64"}), (False, {})):
        body = {"input": "x", "encoding_format": "base64"}
        assert apply_quirks(body, Quirks(embedding_base64=known), "m", "openai_embeddings") == ()
        assert body == {"input": "x", **left}


def wire_for(quirks, model="m", *, streamed=False):
    from gatewayz.providers.registry import provider_rows, providers_from
    from gatewayz.providers.request import build_request

    provider = msgspec.structs.replace(
        providers_from(provider_rows(), {}, {})["fal"], quirks=Quirks(**quirks)
    )
    upstream_request = build_request(
        ImageRequest(dialect="openai_images", model="x", prompt="p", streamed=streamed),
        provider,
        None,
        model,
    )
    return upstream_request.wire(next(upstream_request.steps).draft)


def test_models_that_answer_directly_pass_the_queue_by():
    quirks = {"queue_url": "https://queue.fal.run", "direct_models": "quick"}
    assert wire_for(quirks, "owner/slow").url == "https://queue.fal.run/owner/slow"
    assert wire_for(quirks, "owner/quick").url == "https://fal.run/owner/quick"


def test_only_models_that_stream_images_are_asked_to():
    assert (
        dict(wire_for({"image_streams": "^m"}, streamed=True).headers)["Accept"]
        == "text/event-stream"
    )
    assert (
        dict(wire_for({"image_streams": "^n"}, streamed=True).headers)["Accept"]
        == "application/json"
    )


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://queue.fal.run/x", True),
        ("https://fal.run/x", True),
        ("https://fal.run.evil.example/x", False),
        ("https://fal.run@evil.example/x", False),
        ("http://fal.run/x", False),
        ("https://v3.fal.media/x", False),
        ("https://fal.run", False),
    ],
)
def test_credentials_go_to_the_providers_own_hosts_only(url, own):
    assert url.startswith(own_hosts("https://fal.run", "https://queue.fal.run")) is own


def test_a_file_elsewhere_is_asked_for_without_credentials_and_only_in_public():
    from gatewayz.dialects.kit.base import Draft
    from gatewayz.providers.registry import provider_rows, providers_from
    from gatewayz.providers.request import RequestTarget, wire_from_draft

    fal = providers_from(provider_rows(), {"FAL_KEY": "secret"}, {})["fal"]
    line = RequestTarget(fal, fal.credentials[0], "fal_images", "m", streamed=False)
    for url, public in (
        ("https://v3.fal.media/a.png", True),
        ("https://queue.fal.run/x/status", False),
    ):
        wire, _ = wire_from_draft(line, Draft(url, None, method="GET"))
        assert (wire.url, wire.public, wire.body) == (url, public, b"")
        assert ("secret" in str(wire.headers)) is not public


JPEG = (
    b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08"
    + struct.pack(">HH", 480, 640)
    + b"\x01\x11\x00"
)
WEBP = {
    b"VP8X": b"\x0a\0\0\0" + b"\0" * 4 + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
    b"VP8L": b"\x0a\0\0\0/" + (639 | 479 << 14).to_bytes(4, "little"),
    b"VP8 ": b"\x0a\0\0\0" + b"\0" * 3 + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480),
}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (png(640, 480), "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF89a" + struct.pack("<HH", 640, 480), "image/gif"),
        *[(b"RIFF\0\0\0\0WEBP" + chunk + rest, "image/webp") for chunk, rest in WEBP.items()],
    ],
)
def test_an_image_says_its_kind_and_size(content, kind):
    assert (image_media_type(content), image_size(content)) == (kind, (640, 480))


@given(
    st.binary(max_size=64),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF1234WEBPVP8X", b"GIF8"]),
)
def test_bytes_that_are_no_image_say_nothing_and_break_nothing(rest, magic):
    size = image_size(magic + rest)
    assert size is None or min(size) > 0


def run(steps, *answers):
    """What the steps ask for, with an answer for each `Send`."""
    left, steps_taken, answer = list(answers), [], None
    try:
        while True:
            step = steps.send(answer)
            steps_taken.append(step)
            answer = left.pop(0) if isinstance(step, Send) else None
    except StopIteration as end:
        return steps_taken, end.value


def answer(status, body=b"", **headers):
    return UpstreamAnswer(
        status, headers, body if isinstance(body, bytes) else json.dumps(body).encode()
    )


def test_redirects_are_followed_three_times_and_no_more():
    moved = [answer(302, location=f"/{number}") for number in range(4)]
    steps_taken, file = run(
        fetch_file("https://files.example/a"),
        *moved[:3],
        answer(200, b"x", **{"content-type": "image/PNG; q=1"}),
    )
    assert [step.draft.path for step in steps_taken] == [
        "https://files.example/a",
        "https://files.example/0",
        "https://files.example/1",
        "https://files.example/2",
    ]
    assert file == ("image/png", b"x")
    assert all(step.limit_bytes == 20 * 2**20 and step.timeout_ms == 10_000 for step in steps_taken)
    with pytest.raises(Fault, match="redirected"):
        run(fetch_file("https://files.example/a"), *moved)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "data:text/plain,x"])
def test_a_redirect_stays_in_the_web(location):
    with pytest.raises(Fault, match="not on the web"):
        run(fetch_file("https://files.example/a"), answer(301, location=location))


TICKET = {
    "status_url": "https://q/s",
    "response_url": "https://q/r",
    "cancel_url": "https://q/c",
    "request_id": "1",
}
FAL = EncodeTarget(provider="fal", upstream_id="owner/model", streamed=False, queue_url="https://q")


def poll(*answers):
    request = ImageRequest(dialect="openai_images", model="m", prompt="p")
    steps_taken, _ = run(UPSTREAMS["fal_images"].steps(request, FAL), answer(200, TICKET), *answers)
    return steps_taken


def test_the_queue_is_asked_less_and_less_often_and_a_hiccup_of_its_status_page_is_forgiven():
    waiting, done = answer(202, {"status": "IN_QUEUE"}), answer(200, {"status": "COMPLETED"})
    result = answer(200, load_exchange("template_body", "fal_images").body)
    steps_taken = poll(*[waiting] * 7, answer(502), answer(502), waiting, done, result)
    waits = [step.ms for step in steps_taken if isinstance(step, Wait)]
    assert waits == [500, 750, 1125, 1687, 2530, 3795, 5000, 5000, 5000, 5000, 5000]
    assert [
        step.draft and step.draft.path for step in steps_taken if isinstance(step, OnAbort)
    ] == [
        "https://q/c",
        None,
    ]
    assert isinstance(steps_taken[-1][-1].events[-1], Finished)


@pytest.mark.parametrize(
    "answers",
    [[answer(404)], [answer(503)] * 3, [answer(200, {"status": "COMPLETED"}), answer(422)]],
)
def test_a_run_that_is_lost_ends_the_steps_with_its_refusal(answers):
    assert isinstance(poll(*answers)[-1], Send)


def test_a_queue_that_cannot_be_read_is_broken():
    with pytest.raises(Fault, match="cannot be read"):
        run(
            UPSTREAMS["fal_images"].steps(ImageRequest(dialect="d", model="m", prompt="p"), FAL),
            answer(200, b"<html>"),
        )


options = st.dictionaries(
    st.sampled_from(["deepinfra", "fal"]),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2),
    max_size=2,
)
image_requests = st.builds(
    ImageRequest,
    dialect=st.just("openai_images"),
    model=st.text(min_size=1, max_size=20),
    prompt=st.text(min_size=1, max_size=50).filter(str.strip),
    n=st.integers(1, 10),
    size=st.none() | st.tuples(st.integers(1, 8192), st.integers(1, 8192)),
    quality=st.sampled_from(["", "low", "high", "hd"]),
    style=st.sampled_from(["", "vivid"]),
    output_encoding=st.sampled_from(["", "url", "bytes"]),
    seed=st.none() | st.integers(0, 2**31),
    negative=st.text(max_size=9),
    user=st.text(max_size=9),
    streamed=st.booleans(),
    extra=st.dictionaries(st.sampled_from(["background", "steps"]), st.integers(1, 9), max_size=2),
)


@given(image_requests)
def test_decoding_what_was_encoded_gives_the_same_request(request):
    draft = request_to_wire(
        request,
        EncodeTarget(provider="maker", upstream_id=request.model, streamed=request.streamed),
    )
    assert request_from_wire(json.dumps(draft.body).encode()) == request


@given(image_requests, options)
def test_only_the_provider_that_they_name_sees_options(request, given_options):
    unnamed = msgspec.structs.replace(request, options=given_options, dialect="other")
    for provider in ("deepinfra", "fal", "together"):
        body = request_to_wire(
            unnamed, EncodeTarget(provider=provider, upstream_id="m", streamed=False)
        ).body
        assert body.items() >= given_options.get(provider, {}).items()
        assert not set(unnamed.extra) & (body.keys() - given_options.get(provider, {}).keys())


STREAM = load_exchange("openai_stream", "openai_images").content()


def decode_stream(data, cuts):
    decoder = UPSTREAMS["openai_images"].decoder(
        "text/event-stream", DecodeOptions(provider="maker")
    )
    places, frames = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)], []
    for start, end in itertools.pairwise(places):
        frames += decoder.feed(data[start:end])
    return [event for frame in frames + decoder.close() for event in frame.events]


@given(st.lists(st.integers(0, len(STREAM)), max_size=5))
def test_the_cut_between_chunks_does_not_matter(cuts):
    assert decode_stream(STREAM, cuts) == decode_stream(STREAM, [])


@pytest.mark.parametrize("length", [0, 40, len(STREAM) - 3])
def test_a_stream_that_ends_early_is_cut_or_broken(length):
    [*_, end] = decode_stream(STREAM[:length], [])
    assert isinstance(end, Failed)
    assert end.fault.kind == ("upstream_cut" if length > 400 else "upstream_broken")
    assert isinstance(decode_stream(STREAM[:-2], [])[-1], Finished)


def test_usage_that_makes_no_sense_is_clamped():
    answer_ = {
        "data": [{"b64_json": base64.b64encode(png(1, 1)).decode()}],
        "usage": {
            "input_tokens": -5,
            "output_tokens": 10**18,
            "input_tokens_details": {"image_tokens": 9},
        },
    }
    request = ImageRequest(dialect="openai_images", model="m", prompt="p")
    steps_taken, _ = run(UPSTREAMS["openai_images"].steps(request, FAL), answer(200, answer_))
    usage = next(
        event.usage for event in steps_taken[-1][0].events if isinstance(event, UsageReported)
    )
    assert (usage.input, usage.image_input, usage.image_output) == (0, 0, 10**12)


def test_pixels_are_priced_per_million():
    assert cost(Usage(pixels=2_000_000), price_from_usd({"pixels": "0.025"})) == 50_000_000


def test_what_may_be_used_at_the_most_is_held():
    request = ImageRequest(
        dialect="d", model="m", prompt="p" * 430, n=2, size=(100, 50), quality="low"
    )
    assert request.worst_case_usage(100, None) == Usage(
        input=100, image_output=816, images=2, pixels=10_000, requests=1
    )
    assert (
        msgspec.structs.replace(request, quality="", size=None)
        .worst_case_usage(0, None)
        .image_output
        == 2 * 6_240
    )


def test_an_answer_of_another_dialect_is_spelled_from_its_events():
    role = CLIENTS["/v1/images/generations"]
    assert role.ERRORS
    steps_taken, _ = run(
        UPSTREAMS["vertex_predict"].steps(
            ImageRequest(dialect="openai_images", model="m", prompt="p"),
            EncodeTarget(provider="v", upstream_id="endpoints/1", streamed=False),
        ),
        answer(200, load_exchange("object_forms", "vertex_predict").body),
    )
    texts = [event.text for event in steps_taken[-1][0].events if isinstance(event, BlockDelta)]
    assert len(texts) == 3
    assert steps_taken[-1][0].source is None


@pytest.mark.parametrize(
    ("settings", "queue_url"),
    [
        ({}, "https://queue.fal.run"),
        ({"key": "k"}, "https://queue.fal.run"),
        ({"base_url": "https://proxy.example/fal"}, "https://proxy.example/fal"),
        ({"base_url": "http://127.0.0.1:9/x/"}, "http://127.0.0.1:9/x"),
        (
            {"base_url": "https://p.example", "quirks": {"queue_url": "https://q.example"}},
            "https://q.example",
        ),
    ],
)
def test_a_queue_is_where_the_operator_says_that_its_provider_is(settings, queue_url):
    own = {"fal": ProviderSettings(**settings)}
    assert providers_from(provider_rows(), {}, own)["fal"].quirks.queue_url == queue_url
