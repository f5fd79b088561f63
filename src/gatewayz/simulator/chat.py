"""OpenAI Chat, as providers speak it: answers in the words of the exchange files.

The shapes come from `exchanges/openai_chat/template_*.json`; nothing here uses the gateway's own
encoders.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.answers import SceneAnswer
from gatewayz.simulator.chat_prompt import prompt_from_request
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.recorder import RecordedRequest, count_tokens
from gatewayz.simulator.wire_format import Pieces, WireFormat

SIGNATURE = "c2lnbmVkLWJ5LXRoZS1zaW11bGF0b3I="
ENCRYPTED = "ZW5jcnlwdGVkLXRob3VnaHQ="
FRAGMENT_CHARACTERS = 6
"""Of a tool's arguments, in one delta."""


def usage_of(
    request: RecordedRequest, answer: SceneAnswer, scene: str, *, completion: int | None = None
) -> dict[str, Any]:
    """The usage object, true unless the scene is about wrong ones."""
    usage: dict[str, Any] = copy.deepcopy(load_exchange("template_usage").body)
    whole = answer.completion_tokens * _choice_count(request)
    count = whole if completion is None else completion
    usage |= {"prompt_tokens": prompt_from_request(request).tokens, "completion_tokens": count}
    usage["total_tokens"] = usage["prompt_tokens"] + count
    usage["completion_tokens_details"]["reasoning_tokens"] = count_tokens(answer.thought)
    if request.content.get("prediction"):
        usage["completion_tokens_details"] |= {
            "accepted_prediction_tokens": 1,
            "rejected_prediction_tokens": 2,
        }
    return usage | WRONG_USAGE.get(scene, {})


WRONG_USAGE: dict[str, dict[str, Any]] = {
    "usage-their-cost": {"cost": 0.000123, "cost_details": {"upstream_inference_cost": 0.0001}},
    "usage-cached": {"prompt_tokens": 2048, "prompt_tokens_details": {"cached_tokens": 1800}},
    "usage-cached-over": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50}},
    "usage-negative": {"prompt_tokens": -5, "completion_tokens": -1},
    "usage-floats": {"prompt_tokens": 10.0, "completion_tokens": 4.0},
    "usage-strings": {"prompt_tokens": "10", "completion_tokens": "4"},
    "usage-huge": {"prompt_tokens": 10**18, "completion_tokens": 4},
}


def _choice_count(request: RecordedRequest) -> int:
    return int(request.content.get("n") or 1)


def _head(request: RecordedRequest, template: dict[str, Any]) -> dict[str, Any]:
    head = copy.deepcopy(template)
    head["id"] = f"chatcmpl-sim{request.number:012d}"
    head["model"] = str(request.content.get("model"))
    if request.content.get("seed") is not None:
        head["system_fingerprint"] = f"fp_sim{request.content['seed']}"
    if request.content.get("service_tier") is not None:
        head["service_tier"] = request.content["service_tier"]
    return head


def _logprobs(request: RecordedRequest, text: str) -> dict[str, Any] | None:
    if not request.content.get("logprobs") or not text:
        return None
    token = {"token": text, "logprob": -0.25, "bytes": list(text.encode())}
    alternatives = [token] * int(request.content.get("top_logprobs") or 0)
    return {"content": [{**token, "top_logprobs": alternatives}], "refusal": None}


def body_of(request: RecordedRequest, answer: SceneAnswer, scene: str) -> dict[str, Any]:
    """A whole chat completion."""
    document = _head(request, load_exchange("template_body").body)
    del document["usage"]

    choice = document["choices"][0]
    message = choice["message"]
    message["content"] = _content(answer)
    message |= _reasoning(answer, answer.thought)
    if answer.refusal:
        message["refusal"] = answer.refusal
    if answer.annotations:
        message["annotations"] = list(answer.annotations)
    if answer.audio:
        message["audio"] = {
            "id": "audio_sim",
            "data": answer.audio,
            "expires_at": 1_900_000_000,
            "transcript": answer.text,
        }
        message["content"] = None
    if answer.calls:
        message["tool_calls"] = [_call(answer, number) for number in range(len(answer.calls))]
    if answer.style == "no-role":
        del message["role"]

    choice["finish_reason"] = answer.finish
    choice["logprobs"] = _logprobs(request, answer.text)
    document["choices"] = [
        {**copy.deepcopy(choice), "index": number} for number in range(_choice_count(request))
    ]
    return document | _body_usage(request, answer, scene)


def _body_usage(request: RecordedRequest, answer: SceneAnswer, scene: str) -> dict[str, Any]:
    usage = usage_of(request, answer, scene)
    if scene == "usage-9":
        return {}
    return {"x_groq": {"id": "req_sim", "usage": usage}} if scene == "usage-6" else {"usage": usage}


def _content(answer: SceneAnswer) -> Any:
    match answer.style:
        case "think":
            return f"<think>\n{answer.thought}\n</think>\n\n{answer.text}"
        case "think-open":
            return f"{answer.thought}\n</think>\n\n{answer.text}"
        case "parts":
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": answer.thought}]}
            return [thinking, {"type": "text", "text": answer.text}]
    return answer.text if answer.text or not answer.calls else None


def _reasoning(answer: SceneAnswer, text: str) -> dict[str, Any]:
    if not text or answer.style not in {"reasoning_content", "reasoning", "reasoning_details"}:
        return {}
    if answer.style != "reasoning_details":
        return {answer.style: text}
    details = [
        {
            "type": "reasoning.text",
            "text": text,
            "signature": SIGNATURE,
            "id": "rs_1",
            "format": "unknown",
            "index": 0,
        },
        {
            "type": "reasoning.encrypted",
            "data": ENCRYPTED,
            "id": "rs_2",
            "format": "unknown",
            "index": 1,
        },
    ]
    return {"reasoning": text, "reasoning_details": details}


def _call(answer: SceneAnswer, number: int) -> dict[str, Any]:
    call = answer.calls[number]
    arguments: Any = call.arguments
    if answer.style == "object-arguments":
        arguments = json.loads(arguments)
    return {
        "id": "" if answer.style == "no-id" else call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def chunks_of(
    request: RecordedRequest, answer: SceneAnswer, scene: str
) -> Iterator[tuple[dict[str, Any], int]]:
    """Chunks of a stream, each with the completion tokens that it carries."""
    head = _head(request, load_exchange("template_chunk").body)
    wants_usage = (request.content.get("stream_options") or {}).get("include_usage") is True
    sent = 0
    for number in range(_choice_count(request)):
        for delta, tokens, finish in _deltas(answer):
            sent += tokens
            content = delta.get("content")
            text = content if isinstance(content, str) else ""
            choice = {
                "index": number,
                "delta": delta,
                "logprobs": _logprobs(request, text),
                "finish_reason": finish,
            }
            usage = _chunk_usage(
                request, answer, scene, sent, last=bool(finish), first=sent == tokens
            )
            yield {**head, "choices": [choice], **usage}, tokens
    yield from _usage_chunks(request, answer, scene, head, wants_usage=wants_usage)


def _chunk_usage(
    request: RecordedRequest, answer: SceneAnswer, scene: str, sent: int, *, last: bool, first: bool
) -> dict[str, Any]:
    match scene:
        case "usage-1" if last:
            return {"usage": usage_of(request, answer, scene)}
        case "usage-3":
            return {"usage": usage_of(request, answer, scene, completion=sent)}
        case "usage-4" if first:
            return {"usage": usage_of(request, answer, scene)}
        case "usage-7" if first:
            return {"usage": usage_of(request, answer, scene, completion=0)}
        case "usage-6" if last:
            return {"x_groq": {"id": "req_sim", "usage": usage_of(request, answer, scene)}}
    return {}


def _usage_chunks(
    request: RecordedRequest,
    answer: SceneAnswer,
    scene: str,
    head: dict[str, Any],
    *,
    wants_usage: bool,
) -> Iterator[tuple[dict[str, Any], int]]:
    if scene in {"usage-1", "usage-3", "usage-4", "usage-6", "usage-9"}:
        return
    usage = usage_of(request, answer, scene)
    if scene == "usage-5":
        choice = {"index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": None}
        yield {**head, "choices": [choice], "usage": usage}, 0
    elif wants_usage or scene.startswith("usage-"):
        repeats = 2 if scene == "usage-twice" else 1
        for _ in range(repeats):
            yield {**head, "choices": [], "usage": usage}, 0


def _deltas(answer: SceneAnswer) -> Iterator[tuple[dict[str, Any], int, str | None]]:
    """Delta, tokens, finish reason."""
    if answer.style != "no-role":
        yield {"role": "assistant", "content": ""}, 0, None
    yield from _reasoning_deltas(answer)
    if answer.refusal:
        yield {"refusal": answer.refusal}, count_tokens(answer.refusal), None
    if answer.audio:
        transcript = {"audio": {"id": "audio_sim", "transcript": answer.text}}
        yield transcript, count_tokens(answer.text), None
        yield {"audio": {"data": answer.audio, "expires_at": 1_900_000_000}}, 0, None
    else:
        text, before = "", 0
        for number, piece in enumerate(answer.pieces):
            text += piece
            total = count_tokens(text)
            yield {"content": _piece(answer, number)}, total - before, None
            before = total
    if answer.annotations:
        yield {"annotations": list(answer.annotations)}, 0, None
    yield from _call_deltas(answer)
    yield {}, 0, answer.finish


def _piece(answer: SceneAnswer, number: int) -> Any:
    piece = answer.pieces[number]
    return [{"type": "text", "text": piece}] if answer.style == "parts" else piece


def _reasoning_deltas(answer: SceneAnswer) -> Iterator[tuple[dict[str, Any], int, str | None]]:
    if not answer.thought:
        return
    tokens = count_tokens(answer.thought)
    match answer.style:
        case "think" | "think-open":
            # The tags are cut in the middle.
            opening = ""
            if answer.style == "think":
                yield {"content": "<th"}, 0, None
                opening = "ink>"
            yield {"content": f"{opening}\n{answer.thought}\n</thi"}, tokens, None
            yield {"content": "nk>\n\n"}, 0, None
        case "parts":
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": answer.thought}]}
            yield {"content": [thinking]}, tokens, None
        case _:
            half = len(answer.thought) // 2
            yield _reasoning(answer, answer.thought[:half]), tokens // 2, None
            yield _reasoning(answer, answer.thought[half:]), tokens - tokens // 2, None


def _call_deltas(answer: SceneAnswer) -> Iterator[tuple[dict[str, Any], int, str | None]]:
    """Calls start one after another and their arguments interleave, as parallel calls do."""
    whole = answer.style in {"no-index", "zero-index", "object-arguments"}
    for number, call in enumerate(answer.calls):
        delta = _call(answer, number)
        if not whole:
            delta["function"] = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [_with_index(answer, number, delta)]}, count_tokens(call.name), None
    if whole:
        return

    longest = max((len(call.arguments) for call in answer.calls), default=0)
    for start in range(0, longest, FRAGMENT_CHARACTERS):
        for number, call in enumerate(answer.calls):
            piece = call.arguments[start : start + FRAGMENT_CHARACTERS]
            if piece:
                delta = _with_index(answer, number, {"function": {"arguments": piece}})
                yield {"tool_calls": [delta]}, count_tokens(piece), None


def _with_index(answer: SceneAnswer, number: int, delta: dict[str, Any]) -> dict[str, Any]:
    match answer.style:
        case "no-index":
            return delta
        case "zero-index":
            return {"index": 0, **delta}
    return {"index": number, **delta}


def pieces_of(request: RecordedRequest, answer: SceneAnswer, scene: str) -> Pieces:
    """The events of a stream, each with the tokens that it carries."""
    for chunk, tokens in chunks_of(request, answer, scene):
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n", tokens


OVERLOADED = {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 529}}
FAILURE = {"error": {"message": "The engine fell over", "type": "server_error", "code": 500}}

CHAT = WireFormat(
    folder="openai_chat",
    prompt=prompt_from_request,
    body=body_of,
    pieces=pieces_of,
    end=b"data: [DONE]\n\n",
    failure=b"data: " + json.dumps(FAILURE).encode() + b"\n\n",
    fault_bodies={
        "no-choices": '{"id": "x", "object": "chat.completion", "choices": []}',
        "error-200": '{"error": {"message": "The server had an error", "code": 500}}',
        "usage-8": '{"error": {"message": "failed late"}, "usage": {"prompt_tokens": 5}}',
        "half-json": '{"id": "x", "choices": [{"index": 0, "mess',
    },
    fault_streams={"sse-error-first": b"data: " + json.dumps(OVERLOADED).encode() + b"\n\n"},
)
