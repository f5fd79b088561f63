"""What is left out when a provider refuses a parameter by name: never a limit, and never what the
request is not itself without.
"""

import pytest

from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.providers.quirks import remove_parameters
from gatewayz.routing.verdict import RetryState, verdict


@pytest.mark.parametrize(
    ("body", "refused", "after", "gone"),
    [
        ({"max_tokens": 50}, "max_tokens", {"max_completion_tokens": 50}, ()),
        ({"max_completion_tokens": 50}, "max_completion_tokens", {"max_tokens": 50}, ()),
        ({"max_tokens": 50, "max_completion_tokens": 40}, "max_tokens", {"max_completion_tokens": 40}, ()),
        ({"generationConfig": {"maxOutputTokens": 9}}, "generationConfig.maxOutputTokens", {"generationConfig": {"maxOutputTokens": 9}}, ()),
        ({"n": 2, "seed": 1}, "n", {"n": 2, "seed": 1}, ()),
        ({"seed": 1, "user": "u"}, "seed", {"user": "u"}, ("seed",)),
        ({"response_format": {"strict": True}}, "response_format.strict", {"response_format": {}}, ("response_format.strict",)),
        ({"user": "u"}, "seed", {"user": "u"}, ()),
    ],
)  # fmt: skip
def test_a_limit_is_never_what_is_left_out(body, refused, after, gone):
    assert remove_parameters(body, (refused,)) == gone
    assert body == after


@pytest.mark.parametrize(
    ("refused", "decision"),
    [
        ("n", "stop"),
        ("max_output_tokens", "stop"),
        ("generationConfig.maxOutputTokens", "stop"),
        ("max_tokens", "retry"),
        ("seed", "retry"),
    ],
)
def test_a_provider_that_refuses_a_limit_for_good_has_refused_the_request(refused, decision):
    upstream = UpstreamError("openai_chat", 400, message="no", unsupported_parameter=refused)
    fault = Fault("upstream_rejected", "no", upstream=upstream)
    assert verdict(fault, RetryState(failed_attempts=1), 3) == decision
