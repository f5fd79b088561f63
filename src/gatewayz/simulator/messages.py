"""Anthropic Messages, as Anthropic speaks it: answers in the words of the exchange files, streamed and whole.

The shapes come from `exchanges/anthropic_messages/template_*.json`; nothing here uses the gateway's own encoders.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.answers import Answer
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, fault_actions, whole
from gatewayz.simulator.messages_prompt import prompt_from, redacted_of, signature_of
from gatewayz.simulator.messages_rules import check
from gatewayz.simulator.messages_search import citations_of, search_blocks
from gatewayz.simulator.oracle import Asked, Invoice, tokens_of
from gatewayz.simulator.tongues import Pieces, Tongue

FOLDER = "anthropic_messages"
REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}
PIECE = 6
"""Characters of a tool's input in one delta."""
WRONG_USAGE: dict[str, dict[str, Any]] = {
    "usage-negative": {"input_tokens": -5, "output_tokens": -1},
    "usage-floats": {"input_tokens": 10.0, "output_tokens": 4.0},
    "usage-strings": {"input_tokens": "10", "output_tokens": "4"},
    "usage-huge": {"input_tokens": 10**18, "output_tokens": 4},
}
AT_THE_END = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens",
              "output_tokens_details", "server_tool_use")  # fmt: skip
"""What the last report of a stream says (MessageDeltaUsage)."""


def usage_of(asked: Asked, answer: Answer, scene: str) -> dict[str, Any]:
    """The usage object, true unless the scene is about wrong ones. What is marked for the cache is written to it."""
    usage: dict[str, Any] = copy.deepcopy(load_exchange("template_usage", FOLDER).body)
    short, long = _marked(asked)
    usage["input_tokens"] = prompt_from(asked).tokens - short - long
    if scene == "usage-cached":
        usage["cache_read_input_tokens"] = short + long
    else:
        usage["cache_creation_input_tokens"] = short + long
        usage["cache_creation"] = {
            "ephemeral_5m_input_tokens": short,
            "ephemeral_1h_input_tokens": long,
        }
    usage["output_tokens"] = answer.completion_tokens
    if answer.thought:
        usage["output_tokens_details"] = {"thinking_tokens": tokens_of(answer.thought)}
    if answer.searches:
        usage["server_tool_use"] = {"web_search_requests": answer.searches}
    return usage | WRONG_USAGE.get(scene, {})


def _marked(asked: Asked) -> tuple[int, int]:
    """Tokens of texts that carry a `cache_control`, for five minutes and for an hour."""
    kept = [0, 0]
    contents = [
        asked.content.get("system"),
        *(turn.get("content") for turn in asked.content.get("messages") or ()),
    ]
    for content in contents:
        for block in content if isinstance(content, list) else ():
            if block.get("type") == "text" and block.get("cache_control"):
                kept[block["cache_control"].get("ttl") == "1h"] += tokens_of(block["text"])
    return kept[0], kept[1]


def _blocks(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    """The answer's blocks, whole."""
    found: list[dict[str, Any]] = []
    if answer.thought and answer.style == "redacted":
        found.append({"type": "redacted_thinking", "data": redacted_of(asked)})
    elif answer.thought:
        signature = signature_of(asked, answer.thought)
        found.append({"type": "thinking", "thinking": answer.thought, "signature": signature})
    found += search_blocks(asked, answer)
    text = answer.text or answer.refusal
    if text:
        cited = {"citations": citations_of(asked)} if answer.annotations else {}
        found.append({"type": "text", "text": text, **cited})
    for number, call in enumerate(answer.calls):
        call_id = f"toolu_sim{asked.number}_{number}"
        found.append(
            {
                "type": "tool_use",
                "id": call_id,
                "name": call.name,
                "input": json.loads(call.arguments),
            }
        )
    return found


def _ending(answer: Answer) -> dict[str, Any]:
    reason = "refusal" if answer.refusal else REASONS.get(answer.finish, answer.finish)
    if answer.stopped:
        return {"stop_reason": "stop_sequence", "stop_sequence": answer.stopped}
    return {"stop_reason": reason, "stop_sequence": None}


def _edited(asked: Asked) -> dict[str, Any]:
    """What was done to the context, for those who asked for it; short conversations are left as they are."""
    asked_for = (asked.content.get("context_management") or {}).get("edits") or ()
    if not asked_for:
        return {}
    done = [
        {"type": edit["type"], "cleared_tool_uses": 0, "cleared_input_tokens": 0}
        for edit in asked_for
    ]
    return {"context_management": {"applied_edits": done}}


def body_of(asked: Asked, answer: Answer, scene: str) -> dict[str, Any]:
    """A whole message."""
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    document |= {
        "id": f"msg_sim{asked.number:012d}",
        "model": asked.model,
        "content": _blocks(asked, answer),
    }
    document |= _ending(answer) | _edited(asked)
    if scene == "usage-9":
        del document["usage"]
        return document
    return document | {"usage": usage_of(asked, answer, scene)}


def pieces_of(asked: Asked, answer: Answer, scene: str) -> Pieces:
    """The events of a stream up to the terminal marker, each with the tokens it carries."""
    usage = usage_of(asked, answer, scene)
    told = {} if scene == "usage-9" else usage
    start = _template("message_start")
    start["message"] |= {"id": f"msg_sim{asked.number:012d}", "model": asked.model}
    start["message"]["usage"] = (
        {**told, "output_tokens": 1} if told and scene not in WRONG_USAGE else told
    )
    start["message"]["usage"].pop("server_tool_use", None)
    yield _spelled(start), 0
    for index, block in enumerate(_blocks(asked, answer)):
        yield (
            _spelled(
                _template("content_block_start") | {"index": index, "content_block": _empty(block)}
            ),
            0,
        )
        if index == 0:
            yield _spelled(_template("ping")), 0
        for delta, tokens in _deltas(block, answer):
            yield (
                _spelled(_template("content_block_delta") | {"index": index, "delta": delta}),
                tokens,
            )
        yield _spelled(_template("content_block_stop") | {"index": index}), 0
    end = _template("message_delta")
    end["delta"] |= _ending(answer)
    end |= _edited(asked)
    # What was cached is told with the start; the end repeats the counts.
    end["usage"] = {name: value for name, value in told.items() if name in AT_THE_END}
    yield _spelled(end), 0


def _empty(block: dict[str, Any]) -> dict[str, Any]:
    blanks: dict[str, Any] = {
        "text": "",
        "thinking": "",
        "signature": "",
        "input": {},
        "citations": [],
    }
    return {name: blanks.get(name, value) for name, value in block.items()}


def _deltas(block: dict[str, Any], answer: Answer) -> Iterator[tuple[dict[str, Any], int]]:
    match block["type"]:
        case "text":
            yield from (
                ({"type": "citations_delta", "citation": one}, 0)
                for one in block.get("citations") or ()
            )
            before = 0
            pieces = answer.pieces or (answer.refusal,)
            for number, piece in enumerate(pieces):
                total = tokens_of("".join(pieces[: number + 1]))
                yield {"type": "text_delta", "text": piece}, total - before
                before = total
        case "thinking":
            thought, tokens = block["thinking"], tokens_of(block["thinking"])
            half = len(thought) // 2
            yield {"type": "thinking_delta", "thinking": thought[:half]}, tokens // 2
            yield {"type": "thinking_delta", "thinking": thought[half:]}, tokens - tokens // 2
            yield {"type": "signature_delta", "signature": block["signature"]}, 0
        case "tool_use" | "server_tool_use":
            text = json.dumps(block["input"])
            yield {"type": "input_json_delta", "partial_json": ""}, tokens_of(block["name"])
            for start in range(0, len(text), PIECE):
                piece = text[start : start + PIECE]
                yield {"type": "input_json_delta", "partial_json": piece}, tokens_of(piece)


def _template(kind: str) -> dict[str, Any]:
    template: dict[str, Any] = load_exchange("template_events", FOLDER).body[kind]
    return copy.deepcopy(template)


def _spelled(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def counted(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """`count_tokens`: what the prompt of this request would count, or the scene's fault."""
    wrong = (
        fault_actions(MESSAGES, scene.removeprefix("fault-"))
        if scene.startswith("fault-")
        else None
    )
    if wrong is not None:
        return Invoice(asked.number, asked.model, 0, 0, fault=scene), wrong
    tokens = prompt_from(asked).tokens + sum(
        tokens_of(json.dumps(tool)) for tool in asked.content.get("tools") or ()
    )
    body = json.dumps(
        load_exchange("template_count", FOLDER).body | {"input_tokens": tokens}
    ).encode()
    return Invoice(asked.number, asked.model, tokens, 0), iter(
        [whole(200, body, request_id=f"req_sim{asked.number}")]
    )


MESSAGES = Tongue(
    folder=FOLDER,
    prompt=prompt_from,
    body=body_of,
    pieces=pieces_of,
    check=check,
    opening=3,
    closing=2,
    end=_spelled(_template("message_stop")),
    keep_alive=_spelled(_template("ping")),
    failure=_spelled(_template("error")),
    bodies={
        "no-choices": '{"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}',
        "error-200": '{"type": "error", "error": {"type": "api_error", "message": "The server had an error"}}',
        "half-json": '{"id": "msg_1", "type": "message", "content": [{"type": "te',
    },
)
