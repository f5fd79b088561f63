"""Web searches that Anthropic makes itself: their blocks, citations of what they found, and what is refused of them.

The shapes come from `exchanges/anthropic_messages/template_search.json`.
"""

import base64
import copy
from typing import Any

from gatewayz.simulator.answers import Answer
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.messages_prompt import Block, blocks_of, place_of
from gatewayz.simulator.oracle import Asked

ENCRYPTED = ("encrypted_content", "encrypted_index")


def search_blocks(asked: Asked, answer: Answer) -> list[Block]:
    """The calls and their results, which this provider encrypts for itself."""
    found: list[Block] = []
    for number in range(answer.searches or int(answer.unfound)):
        call = _template("server_tool_use")
        result = _template("failed" if answer.unfound else "web_search_tool_result")
        call["id"] = result["tool_use_id"] = f"srvtoolu_sim{asked.number}_{number}"
        for item in result["content"] if not answer.unfound else ():
            item["encrypted_content"] = encrypted_of(asked)
        found += [call, result]
    return found


def citations_of(asked: Asked) -> list[Block]:
    """What a text that rests on a search carries."""
    return [_template("citation") | {"encrypted_index": encrypted_of(asked)}]


def encrypted_of(asked: Asked) -> str:
    return base64.b64encode(f"{place_of(asked)}|found".encode()).decode()


def strange(asked: Asked) -> bool:
    """Whether something encrypted comes back that this provider did not make."""
    return any(
        value != encrypted_of(asked) for block in blocks_of(asked) for value in _encrypted(block)
    )


def _encrypted(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _encrypted(item)]
    if not isinstance(value, dict):
        return []
    own = [inner for name, inner in value.items() if name in ENCRYPTED and isinstance(inner, str)]
    return own + [found for inner in value.values() for found in _encrypted(inner)]


def _template(kind: str) -> Block:
    template: Block = load_exchange("template_search", "anthropic_messages").body[kind]
    return copy.deepcopy(template)


def unanswered(blocks: list[Block]) -> str:
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
