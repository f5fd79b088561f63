"""Web searches that Anthropic makes itself: their blocks, citations, and what is refused.

The shapes come from `exchanges/anthropic_messages/template_search.json`.
"""

import base64
import copy
from typing import Any

from gatewayz.simulator.answers import SceneAnswer
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.messages_prompt import Block, blocks_of, provider_prefix
from gatewayz.simulator.recorder import RecordedRequest

CIPHERTEXT_FIELDS = ("encrypted_content", "encrypted_index")


def search_blocks(request: RecordedRequest, answer: SceneAnswer) -> list[Block]:
    """The calls and their results, which this provider encrypts for itself."""
    blocks: list[Block] = []
    for number in range(answer.searches or int(answer.search_failed)):
        call = _template("server_tool_use")
        result = _template("failed" if answer.search_failed else "web_search_tool_result")
        call["id"] = result["tool_use_id"] = f"srvtoolu_sim{request.number}_{number}"
        for item in result["content"] if not answer.search_failed else ():
            item["encrypted_content"] = search_ciphertext(request)
        blocks += [call, result]
    return blocks


def citations_of(request: RecordedRequest) -> list[Block]:
    """What a text that rests on a search carries."""
    return [_template("citation") | {"encrypted_index": search_ciphertext(request)}]


def search_ciphertext(request: RecordedRequest) -> str:
    """What this provider encrypts a result into: only under the same path is it valid."""
    return base64.b64encode(f"{provider_prefix(request)}|found".encode()).decode()


def has_foreign_ciphertext(request: RecordedRequest) -> bool:
    """Whether something encrypted comes back that this provider did not make."""
    return any(
        value != search_ciphertext(request)
        for block in blocks_of(request)
        for value in _ciphertexts(block)
    )


def _ciphertexts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _ciphertexts(item)]
    if not isinstance(value, dict):
        return []
    own = [
        inner
        for name, inner in value.items()
        if name in CIPHERTEXT_FIELDS and isinstance(inner, str)
    ]
    return own + [text for inner in value.values() for text in _ciphertexts(inner)]


def _template(kind: str) -> Block:
    template: Block = load_exchange("template_search", "anthropic_messages").body[kind]
    return copy.deepcopy(template)


def search_without_result(blocks: list[Block]) -> str:
    """A search in this turn that has no result beside it; empty when there is none."""
    results = {
        block.get("tool_use_id")
        for block in blocks
        if block.get("type") == "web_search_tool_result"
    }
    calls = [
        block
        for block in blocks
        if block.get("type") == "server_tool_use" and block.get("name") == "web_search"
    ]
    return next((str(call["id"]) for call in calls if call.get("id") not in results), "")
