"""Anthropic Messages, as Anthropic speaks it: answers in the words of the exchange files.

The shapes come from `exchanges/anthropic_messages/template_*.json`; nothing here uses the gateway's
own encoders.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.answers import SceneAnswer
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, fault_actions, http_response
from gatewayz.simulator.messages_prompt import (
    Block,
    prompt_from_request,
    thinking_redaction,
    thinking_signature,
)
from gatewayz.simulator.messages_search import citations_of, search_blocks
from gatewayz.simulator.messages_validation import check
from gatewayz.simulator.recorder import Invoice, RecordedRequest, count_tokens
from gatewayz.simulator.wire_format import Pieces, WireFormat

FOLDER = "anthropic_messages"
REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}
FRAGMENT_CHARACTERS = 6
"""Of a tool's input, in one delta."""
WRONG_USAGE: dict[str, dict[str, Any]] = {
    "usage-negative": {"input_tokens": -5, "output_tokens": -1},
    "usage-floats": {"input_tokens": 10.0, "output_tokens": 4.0},
    "usage-strings": {"input_tokens": "10", "output_tokens": "4"},
    "usage-huge": {"input_tokens": 10**18, "output_tokens": 4},
}
FINAL_USAGE_FIELDS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)
"""What the last report of a stream says (MessageDeltaUsage)."""


def usage_of(request: RecordedRequest, answer: SceneAnswer, scene: str) -> dict[str, Any]:
    """The usage object, true unless the scene is about wrong ones.

    What is marked for the cache is written to it.
    """
    usage: dict[str, Any] = copy.deepcopy(load_exchange("template_usage", FOLDER).body)
    minutes, hour = _cache_write_tokens(request)
    usage["input_tokens"] = prompt_from_request(request).tokens - minutes - hour
    if scene == "usage-cached":
        usage["cache_read_input_tokens"] = minutes + hour
    else:
        usage["cache_creation_input_tokens"] = minutes + hour
        usage["cache_creation"] = {
            "ephemeral_5m_input_tokens": minutes,
            "ephemeral_1h_input_tokens": hour,
        }

    usage["output_tokens"] = answer.completion_tokens
    if answer.thought:
        usage["output_tokens_details"] = {"thinking_tokens": count_tokens(answer.thought)}
    if answer.searches:
        usage["server_tool_use"] = {"web_search_requests": answer.searches}
    return usage | WRONG_USAGE.get(scene, {})


def _cache_write_tokens(request: RecordedRequest) -> tuple[int, int]:
    """Tokens of texts that carry a `cache_control`, for five minutes and for an hour."""
    minutes, hour = 0, 0
    contents = [
        request.content.get("system"),
        *(turn.get("content") for turn in request.content.get("messages") or ()),
    ]
    for content in contents:
        for block in content if isinstance(content, list) else ():
            control = block.get("cache_control")
            if block.get("type") != "text" or not control:
                continue
            if control.get("ttl") == "1h":
                hour += count_tokens(block["text"])
            else:
                minutes += count_tokens(block["text"])
    return minutes, hour


def _blocks(request: RecordedRequest, answer: SceneAnswer) -> list[Block]:
    """The answer's blocks, whole."""
    blocks: list[Block] = []
    if answer.thought and answer.style == "redacted":
        blocks.append({"type": "redacted_thinking", "data": thinking_redaction(request)})
    elif answer.thought:
        signature = thinking_signature(request, answer.thought)
        blocks.append({"type": "thinking", "thinking": answer.thought, "signature": signature})
    blocks += search_blocks(request, answer)

    text = answer.text or answer.refusal
    if text:
        citations = {"citations": citations_of(request)} if answer.annotations else {}
        blocks.append({"type": "text", "text": text, **citations})
    for number, call in enumerate(answer.calls):
        call_id = f"toolu_sim{request.number}_{number}"
        block = {"type": "tool_use", "id": call_id, "name": call.name}
        blocks.append(block | {"input": json.loads(call.arguments)})
    return blocks


def _stop_fields(answer: SceneAnswer) -> dict[str, Any]:
    reason = "refusal" if answer.refusal else REASONS.get(answer.finish, answer.finish)
    if answer.stop_sequence:
        return {"stop_reason": "stop_sequence", "stop_sequence": answer.stop_sequence}
    return {"stop_reason": reason, "stop_sequence": None}


def _context_management(request: RecordedRequest) -> dict[str, Any]:
    """What was done to the context, for those who asked: short conversations stay as they are."""
    edits = (request.content.get("context_management") or {}).get("edits") or ()
    if not edits:
        return {}
    applied = [
        {"type": edit["type"], "cleared_tool_uses": 0, "cleared_input_tokens": 0} for edit in edits
    ]
    return {"context_management": {"applied_edits": applied}}


def body_of(request: RecordedRequest, answer: SceneAnswer, scene: str) -> dict[str, Any]:
    """A whole message."""
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    document |= {
        "id": f"msg_sim{request.number:012d}",
        "model": request.model,
        "content": _blocks(request, answer),
    }
    document |= _stop_fields(answer) | _context_management(request)
    if scene == "usage-9":
        del document["usage"]
        return document
    return document | {"usage": usage_of(request, answer, scene)}


def pieces_of(request: RecordedRequest, answer: SceneAnswer, scene: str) -> Pieces:
    """The events of a stream up to the terminal marker, each with the tokens that it carries."""
    usage = {} if scene == "usage-9" else usage_of(request, answer, scene)
    # At the start nothing was searched yet, and the output is a placeholder.
    first_usage = {name: value for name, value in usage.items() if name != "server_tool_use"}
    if usage and scene not in WRONG_USAGE:
        first_usage["output_tokens"] = 1
    start = _template("message_start")
    start["message"] |= {"id": f"msg_sim{request.number:012d}", "model": request.model}
    start["message"]["usage"] = first_usage
    yield _encode_event(start), 0

    for index, block in enumerate(_blocks(request, answer)):
        first = {"index": index, "content_block": _start_block(block)}
        yield _encode_event(_template("content_block_start") | first), 0
        if index == 0:
            yield _encode_event(_template("ping")), 0
        for delta, tokens in _deltas(block, answer):
            fields = {"index": index, "delta": delta}
            yield _encode_event(_template("content_block_delta") | fields), tokens
        yield _encode_event(_template("content_block_stop") | {"index": index}), 0

    end = _template("message_delta")
    end["delta"] |= _stop_fields(answer)
    end |= _context_management(request)
    # What was cached stands in the start; the end repeats the counts.
    end["usage"] = {name: value for name, value in usage.items() if name in FINAL_USAGE_FIELDS}
    yield _encode_event(end), 0


def _start_block(block: Block) -> Block:
    """The block as it starts, without what its deltas bring."""
    blanks: dict[str, Any] = {
        "text": "",
        "thinking": "",
        "signature": "",
        "input": {},
        "citations": [],
    }
    return {name: blanks.get(name, value) for name, value in block.items()}


def _deltas(block: Block, answer: SceneAnswer) -> Iterator[tuple[Block, int]]:
    """The deltas of a block, each with the tokens that it carries."""
    match block["type"]:
        case "text":
            for citation in block.get("citations") or ():
                yield {"type": "citations_delta", "citation": citation}, 0
            before = 0
            pieces = answer.pieces or (answer.refusal,)
            for number, piece in enumerate(pieces):
                total = count_tokens("".join(pieces[: number + 1]))
                yield {"type": "text_delta", "text": piece}, total - before
                before = total
        case "thinking":
            thought, tokens = block["thinking"], count_tokens(block["thinking"])
            half = len(thought) // 2
            yield {"type": "thinking_delta", "thinking": thought[:half]}, tokens // 2
            yield {"type": "thinking_delta", "thinking": thought[half:]}, tokens - tokens // 2
            yield {"type": "signature_delta", "signature": block["signature"]}, 0
        case "tool_use" | "server_tool_use":
            text = json.dumps(block["input"])
            yield {"type": "input_json_delta", "partial_json": ""}, count_tokens(block["name"])
            for start in range(0, len(text), FRAGMENT_CHARACTERS):
                piece = text[start : start + FRAGMENT_CHARACTERS]
                yield {"type": "input_json_delta", "partial_json": piece}, count_tokens(piece)


def _template(kind: str) -> dict[str, Any]:
    template: dict[str, Any] = load_exchange("template_events", FOLDER).body[kind]
    return copy.deepcopy(template)


def _encode_event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def play_count_tokens(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """`count_tokens`: what the prompt of this request counts, or the scene's fault."""
    if scene.startswith("fault-"):
        actions = fault_actions(MESSAGES, scene.removeprefix("fault-"))
        if actions is not None:
            return Invoice(request.number, request.model, 0, 0, fault=scene), actions

    tokens = prompt_from_request(request).tokens
    tokens += sum(count_tokens(json.dumps(tool)) for tool in request.content.get("tools") or ())
    body = load_exchange("template_count", FOLDER).body | {"input_tokens": tokens}
    response = http_response(200, json.dumps(body).encode(), request_id=f"req_sim{request.number}")
    return Invoice(request.number, request.model, tokens, 0), iter([response])


MESSAGES = WireFormat(
    folder=FOLDER,
    prompt=prompt_from_request,
    body=body_of,
    pieces=pieces_of,
    check=check,
    opening=3,
    closing=2,
    end=_encode_event(_template("message_stop")),
    keep_alive=_encode_event(_template("ping")),
    failure=_encode_event(_template("error")),
    fault_bodies={
        "no-choices": '{"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}',
        "error-200": (
            '{"type": "error", '
            '"error": {"type": "api_error", "message": "The server had an error"}}'
        ),
        "half-json": '{"id": "msg_1", "type": "message", "content": [{"type": "te',
    },
)
