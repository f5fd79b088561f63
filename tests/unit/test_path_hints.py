"""A path at which there is nothing says where it was probably meant to lead."""

import pytest

from gatewayz.web.path_hints import path_hint

SERVED = ("/v1/chat/completions", "/v1/messages", "/v1/models", "/v1/embeddings", "/admin/accounts", "/health/ready")  # fmt: skip


@pytest.mark.parametrize(
    ("path", "meant", "why"),
    [
        ("/chat/completions", "/v1/chat/completions", "The base URL ends with /v1"),
        ("/messages", "/v1/messages", "The base URL ends with /v1"),
        ("/v1/v1/messages", "/v1/messages", "Leave /v1 out of the base URL"),
        ("/v1/v1/v1/chat/completions", "/v1/chat/completions", "Leave /v1/v1 out"),
        ("/openai/v1/chat/completions", "/v1/chat/completions", "Leave /openai out"),
        ("/api/v1/models", "/v1/models", "Leave /api out"),
        ("/anthropic/v1/messages", "/v1/messages", "Leave /anthropic out"),
        ("/v1/chat/completions/", "/v1/chat/completions", ""),
        ("//v1//messages", "/v1/messages", ""),
        ("/V1/Messages", "/v1/messages", ""),
        ("/v1/chat/completion", "/v1/chat/completions", ""),
        ("/v1/embedings", "/v1/embeddings", ""),
        ("/health/readyz", "/health/ready", ""),
    ],
)
def test_a_path_that_is_nearly_one_of_ours_is_told_which(path, meant, why):
    hint = path_hint(path, SERVED)
    assert hint.startswith(f"; did you mean {meant}?")
    assert why in hint


@pytest.mark.parametrize(
    "path", ["", "/", "/favicon.ico", "/wp-login.php", "/v1", "/v1/v1", "/v1/realtime", "x" * 200]
)
def test_any_other_path_is_told_nothing(path):
    assert path_hint(path, SERVED) == ""
