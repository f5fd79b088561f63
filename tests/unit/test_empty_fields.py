"""A field that is needed and empty is called empty; one that is not there is called missing."""

import pytest

from gatewayz.core.faults import Fault
from gatewayz.dialects.registry import CLIENTS

CHAT, MESSAGES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/embeddings"


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (CHAT, b'{"model": "m", "messages": []}', "Invalid value for 'messages': it is empty."),
        (CHAT, b'{"model": "m"}', "Missing required parameter: 'messages'."),
        (CHAT, b'{"model": "", "messages": []}', "Invalid value for 'model': it is empty."),
        (CHAT, b'{"model": null, "messages": []}', "Missing required parameter: 'model'."),
        (CHAT, b'{"model": "m", "messages": [{"role": "", "content": "x"}]}', "'messages[0].role': it is empty"),
        (MESSAGES, b'{"model": "m", "max_tokens": 5, "messages": []}', "'messages': it is empty"),
        (MESSAGES, b'{"model": "m", "max_tokens": 5}', "Missing required parameter: 'messages'."),
        (EMBEDDINGS, b'{"model": "", "input": "x"}', "'model': it is empty"),
    ],
)  # fmt: skip
def test_empty_is_not_missing(path, body, said):
    with pytest.raises(Fault) as refused:
        CLIENTS[path].decode(body, {})
    assert said in refused.value.message
