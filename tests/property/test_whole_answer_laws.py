"""Whatever JSON a provider answers with, roles that read it whole give good frames or a fault."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.events import Failed
from gatewayz.core.faults import Fault
from gatewayz.core.grammar import violation
from gatewayz.core.requests import EmbeddingRequest, ImageRequest
from gatewayz.dialects.kit.base import EncodeTarget, OnAbort, Send, UpstreamAnswer, Wait
from gatewayz.dialects.registry import UPSTREAMS

REQUESTS = {
    "image": ImageRequest(dialect="openai_images", model="m", prompt="p", output_encoding="bytes"),
    "embedding": EmbeddingRequest(dialect="openai_embeddings", model="m", texts=("text",)),
}
ROLES = [
    (name, surface)
    for name, role in UPSTREAMS.items()
    for surface in REQUESTS
    if surface in role.serves
]
NAMES = (
    "data",
    "images",
    "image",
    "url",
    "b64_json",
    "predictions",
    "candidates",
    "content",
    "parts",
    "inlineData",
    "embedding",
    "usage",
    "error",
    "index",
    "width",
    "height",
    "has_nsfw_concepts",
    "input_tokens",
    "prompt_tokens",
    "status_url",
    "response_url",
    "cancel_url",
    "status",
    "video",
    "detail",
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        [
            "https://files.example/a",
            "data:image/png;base64,AA",
            "AAAA",
            "iVBORw0KGgo",
            "COMPLETED",
            "file:///x",
        ]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.binary(max_size=20) | VALUES.map(lambda value: json.dumps(value).encode())
MOST_STEPS = 40


@pytest.mark.parametrize(("name", "surface"), ROLES)
@given(
    bodies=st.lists(BODIES, min_size=1, max_size=3),
    status=st.sampled_from([200, 200, 200, 202, 302, 404, 500]),
)
def test_any_body_is_an_answer_or_a_fault(name, surface, bodies, status):
    target = EncodeTarget(
        provider="p",
        upstream_id="owner/model",
        streamed=False,
        queue_url="https://q" if name == "fal_images" else "",
    )
    steps, answer, events = UPSTREAMS[name].steps(REQUESTS[surface], target), None, []
    try:
        for number in range(MOST_STEPS):
            step = steps.send(answer)
            answer = None
            if isinstance(step, Send):
                answer = UpstreamAnswer(
                    status if number else 200,
                    {"location": "/b", "content-type": "image/png"},
                    bodies[min(number, len(bodies) - 1)],
                )
            elif not isinstance(step, Wait | OnAbort):
                events += [event for frame in step for event in frame.events]
    except StopIteration:
        assert not events or violation(events) == "" or isinstance(events[-1], Failed)
    except Fault as fault:
        assert fault.message
