"""What refusals mean, by the samples that were gathered, and how long they ask us to wait."""

import json
from pathlib import Path

import pytest

from gatewayz.core.faults import UpstreamError
from gatewayz.providers.error_classes import classify, error_class, find_unsupported_parameters
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.retry_after import retry_after_s

SAMPLES = json.loads(Path(__file__).with_name("refusals.json").read_text())
PROVIDERS = providers_from(provider_rows(), {}, {})
NOON_MS = 1_764_000_000_000


@pytest.mark.parametrize(
    "sample",
    SAMPLES,
    ids=lambda sample: f"{sample['provider']}-{sample['status']}-{sample['class']}",
)
def test_a_sample_is_classified(sample):
    error = UpstreamError(
        dialect="openai_chat",
        status=sample["status"],
        code=str(sample["code"]),
        message=sample["text"],
    )
    assert error_class(PROVIDERS[sample["provider"]], error) == sample["class"]


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-abcdefgh12345",
        "mail someone@example.org",
        "see https://x.example/a?token=1",
        "Bearer abcdef",
    ],
)
def test_secrets_in_a_providers_text_are_hidden(text):
    error = UpstreamError(dialect="openai_chat", status=400, message=text)
    message = classify(PROVIDERS["openai"], error).message
    assert "***" in message or message == "OpenAI refused our credential"
    for secret in ("abcdefgh", "someone@", "token=1", "abcdef"):
        assert secret not in message


@pytest.mark.parametrize(
    ("status", "message", "param", "name"),
    [
        (
            400,
            "Unsupported parameter: 'temperature' is not supported with this model.",
            "",
            "temperature",
        ),
        (422, "Extra inputs are not permitted", "store", "store"),
        (400, "Unrecognized request argument supplied: `foo`", "", "foo"),
        (400, "Invalid value for 'messages'", "messages", ""),
        (500, "Unsupported parameter: 'x'", "x", ""),
    ],
)
def test_the_unsupported_parameter_is_named(status, message, param, name):
    error = UpstreamError(dialect="openai_chat", status=status, message=message, param=param)
    assert find_unsupported_parameters(error)[:1] == ((name,) if name else ())


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after": "1.5"}, b"", 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, b"", 0.25),
        ({"retry-after": "-1"}, b"", 0.0),
        ({"retry-after": "1e9"}, b"", 3600.0),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "Mon, 24 Nov 2025 16:00:10 GMT"}, b"", 10.0),
        ({"retry-after": "soon"}, b"", None),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, b"", 360.0),
        (
            {"x-ratelimit-reset-tokens": "2m59.56s", "x-ratelimit-remaining-tokens": "0"},
            b"",
            179.56,
        ),
        ({"x-ratelimit-reset-tokens": "12ms", "x-ratelimit-remaining-tokens": "0"}, b"", 0.012),
        ({"x-ratelimit-reset-tokens": "9s", "x-ratelimit-remaining-tokens": "5"}, b"", None),
        ({}, b'{"error": {"message": "Please try again in 7.66s."}}', 7.66),
        ({}, b'{"details": [{"retryDelay": "34s"}]}', 34.0),
        ({}, b"", None),
    ],
)
def test_every_form_of_waiting_is_understood(headers, body, wait_s):
    assert retry_after_s(headers, body, NOON_MS) == (
        None if wait_s is None else pytest.approx(wait_s)
    )
