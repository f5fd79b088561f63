"""The rows that speak Gemini are run: a socket receives what Google's documentation asks for."""

import json

import msgspec
import pytest

from gatewayz.core.conversation import Image, Message, Text
from gatewayz.core.faults import UpstreamError
from gatewayz.providers.error_classes import classify
from gatewayz.providers.quirks import why_not_served
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.request import build_request
from gatewayz.providers.spec import ProviderSettings
from gatewayz.upstream.http1 import HttpTransport
from tests.contract.test_provider_rows import EVERYTHING, Capture
from tests.support.running_gateway import PATIENT

PROJECT = {"GOOGLE_CLOUD_PROJECT": "acme", "GOOGLE_CLOUD_LOCATION": "europe-west4"}
# Row → environment, path before the model, and header of the credential.
FACTS = {
    "google-ai-studio": ({"GEMINI_API_KEY": "KEY"}, "/v1beta", ("x-goog-api-key", "KEY")),
    "google-vertex": (
        {"GOOGLE_VERTEX_API_KEY": "KEY"} | PROJECT,
        "/v1/publishers/google",
        ("x-goog-api-key", "KEY"),
    ),
}


async def send_request(name, request, upstream_id):
    environment, _, _ = FACTS[name]
    async with Capture() as capture:
        provider = providers_from(provider_rows(), environment, {})[name]
        path = "/" + provider.base_url.partition("://")[2].partition("/")[2]
        provider = providers_from(
            provider_rows(), environment, {name: ProviderSettings(base_url=capture.url + path)}
        )[name]
        assert provider.off == ""
        transport = HttpTransport(PATIENT)
        upstream_request = build_request(request, provider, provider.credentials[0], upstream_id)
        step = next(upstream_request.steps)
        async with transport.send(upstream_request.wire(step.draft)) as exchange:
            await exchange.read(100)
        await transport.close()
        return capture, upstream_request


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize(
    ("streamed", "verb"), [(True, "streamGenerateContent?alt=sse"), (False, "generateContent")]
)
async def test_a_rows_request_is_what_its_documentation_asks_for(name, streamed, verb):
    _, path, (header, value) = FACTS[name]
    request = msgspec.structs.replace(EVERYTHING, streamed=streamed)
    capture, upstream_request = await send_request(name, request, "gemini-2.5-flash")
    assert (capture.method, capture.path) == ("POST", f"{path}/models/gemini-2.5-flash:{verb}")
    assert capture.headers[header] == value
    assert set(capture.headers) == {
        "host",
        "content-type",
        "accept",
        "accept-encoding",
        "user-agent",
        "content-length",
        header,
    }
    assert capture.headers["accept"] == ("text/event-stream" if streamed else "application/json")
    assert capture.body == {
        "systemInstruction": {"parts": [{"text": "brief"}]},
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "tells",
                        "parametersJsonSchema": {"type": "object"},
                    }
                ]
            }
        ],
        "generationConfig": {
            "temperature": 0.7,
            "topP": 0.9,
            "seed": 7,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "stopSequences": ["END"],
            "maxOutputTokens": 50,
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 24_576},
        },
    }
    assert set(upstream_request.dropped) == {"name", "user", "logit_bias", "metadata"}


@pytest.mark.parametrize("name", FACTS)
def test_google_fetches_web_addresses_itself(name):
    # ai.google.dev/gemini-api/docs/file-input-methods, "External URLs"; for Vertex FileData.fileUri
    # of its reference.
    request = msgspec.structs.replace(
        EVERYTHING, messages=(Message("user", (Text("?"), Image("https://example.org/a.png"))),)
    )
    provider = providers_from(provider_rows(), {}, {})[name]
    assert not why_not_served(request, provider.quirks)
    upstream_request = build_request(request, provider, None, "gemini-2.5-flash")
    assert json.loads(upstream_request.wire(next(upstream_request.steps).draft).body)["contents"][
        0
    ]["parts"][1] == {"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a.png"}}


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize(
    ("status", "type_", "code", "message", "kind"),
    [
        (
            400,
            "INVALID_ARGUMENT",
            "API_KEY_INVALID",
            "API key not valid. Please pass a valid API key.",
            "upstream_auth",
        ),
        (400, "FAILED_PRECONDITION", "", "Please enable billing.", "upstream_unpaid"),
        (
            403,
            "PERMISSION_DENIED",
            "BILLING_DISABLED",
            "This API method requires billing to be enabled.",
            "upstream_unpaid",
        ),
        (
            403,
            "PERMISSION_DENIED",
            "IAM_PERMISSION_DENIED",
            "Permission denied",
            "upstream_forbidden",
        ),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "",
            "Quota GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "upstream_unpaid",
        ),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "",
            "Resource exhausted. Please try again later.",
            "upstream_limited",
        ),
        (404, "NOT_FOUND", "", "Publisher Model was not found", "upstream_unknown_model"),
        (503, "UNAVAILABLE", "", "The model is overloaded.", "upstream_overloaded"),
    ],
)
def test_a_refusal_means_what_the_row_says(name, status, type_, code, message, kind):
    words = UpstreamError(dialect="gemini", status=status, type=type_, code=code, message=message)
    assert classify(providers_from(provider_rows(), {}, {})[name], words).kind == kind


def test_a_models_id_stays_one_segment_of_the_path():
    provider = providers_from(provider_rows(), {"GEMINI_API_KEY": "KEY"}, {})["google-ai-studio"]
    upstream_request = build_request(
        msgspec.structs.replace(EVERYTHING, streamed=False),
        provider,
        None,
        "models/../../secret?x=1#",
    )
    url = upstream_request.wire(next(upstream_request.steps).draft).url
    assert (
        url == "https://generativelanguage.googleapis.com/v1beta/models/"
        "..%2F..%2Fsecret%3Fx%3D1%23:generateContent"
    )
    assert json.loads(
        upstream_request.wire(next(build_request(EVERYTHING, provider, None, "x").steps).draft).body
    )
