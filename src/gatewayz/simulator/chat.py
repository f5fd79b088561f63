"""OpenAI Chat, as providers speak it: answers in the words of the exchange files, streamed and whole.

The shapes come from `exchanges/openai_chat/template_*.json`; nothing here uses the gateway's own encoders.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.answers import Answer
from gatewayz.simulator.chat_prompt import prompt_from
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.oracle import Asked, tokens_of
from gatewayz.simulator.tongues import Pieces, Tongue

SIGNATURE = "c2lnbmVkLWJ5LXRoZS1zaW11bGF0b3I="
ENCRYPTED = "ZW5jcnlwdGVkLXRob3VnaHQ="
FIRST_USAGE = frozenset({"usage-4", "usage-7"})


def usage_of(
    asked: Asked, answer: Answer, scene: str, *, completion: int | None = None
) -> dict[str, Any]:
    """The usage object, true unless the scene is about wrong ones."""
    usage: dict[str, Any] = copy.deepcopy(load_exchange("template_usage").body)
    count = answer.completion_tokens * _n(asked) if completion is None else completion
    usage |= {"prompt_tokens": prompt_from(asked).tokens, "completion_tokens": count}
    usage["total_tokens"] = usage["prompt_tokens"] + count
    usage["completion_tokens_details"]["reasoning_tokens"] = tokens_of(answer.thought)
    if asked.content.get("prediction"):
        usage["completion_tokens_details"] |= {
            "accepted_prediction_tokens": 1,
            "rejected_prediction_tokens": 2,
        }
    wrong = WRONG_USAGE.get(scene)
    return usage | wrong if wrong is not None else usage


WRONG_USAGE: dict[str, dict[str, Any]] = {
    "usage-their-cost": {"cost": 0.000123, "cost_details": {"upstream_inference_cost": 0.0001}},
    "usage-cached": {"prompt_tokens": 2048, "prompt_tokens_details": {"cached_tokens": 1800}},
    "usage-cached-over": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50}},
    "usage-negative": {"prompt_tokens": -5, "completion_tokens": -1},
    "usage-floats": {"prompt_tokens": 10.0, "completion_tokens": 4.0},
    "usage-strings": {"prompt_tokens": "10", "completion_tokens": "4"},
    "usage-huge": {"prompt_tokens": 10**18, "completion_tokens": 4},
}


def _n(asked: Asked) -> int:
    return int(asked.content.get("n") or 1)


def _head(asked: Asked, template: dict[str, Any]) -> dict[str, Any]:
    head = copy.deepcopy(template)
    head["id"] = f"chatcmpl-sim{asked.number:012d}"
    head["model"] = str(asked.content.get("model"))
    if asked.content.get("seed") is not None:
        head["system_fingerprint"] = f"fp_sim{asked.content['seed']}"
    if asked.content.get("service_tier") is not None:
        head["service_tier"] = asked.content["service_tier"]
    return head


def _logprobs(asked: Asked, text: str) -> dict[str, Any] | None:
    if not asked.content.get("logprobs") or not text:
        return None
    top = [{"token": text, "logprob": -0.25, "bytes": list(text.encode())}] * int(
        asked.content.get("top_logprobs") or 0
    )
    return {
        "content": [
            {"token": text, "logprob": -0.25, "bytes": list(text.encode()), "top_logprobs": top}
        ],
        "refusal": None,
    }


def body_of(asked: Asked, answer: Answer, scene: str) -> dict[str, Any]:
    """A whole chat completion."""
    document = _head(asked, load_exchange("template_body").body)
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
    choice["logprobs"] = _logprobs(asked, answer.text)
    document["choices"] = [
        {**copy.deepcopy(choice), "index": number} for number in range(_n(asked))
    ]
    return document | _body_usage(asked, answer, scene)


def _body_usage(asked: Asked, answer: Answer, scene: str) -> dict[str, Any]:
    usage = usage_of(asked, answer, scene)
    if scene == "usage-9":
        return {}
    return {"x_groq": {"id": "req_sim", "usage": usage}} if scene == "usage-6" else {"usage": usage}


def _content(answer: Answer) -> Any:
    match answer.style:
        case "think":
            return f"<think>\n{answer.thought}\n</think>\n\n{answer.text}"
        case "think-open":
            return f"{answer.thought}\n</think>\n\n{answer.text}"
        case "parts":
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": answer.thought}]}
            return [thinking, {"type": "text", "text": answer.text}]
    return answer.text if answer.text or not answer.calls else None


def _reasoning(answer: Answer, text: str) -> dict[str, Any]:
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


def _call(answer: Answer, number: int) -> dict[str, Any]:
    call = answer.calls[number]
    arguments: Any = (
        json.loads(call.arguments) if answer.style == "object-arguments" else call.arguments
    )
    shown = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }
    return shown | ({"id": ""} if answer.style == "no-id" else {})


def chunks_of(asked: Asked, answer: Answer, scene: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Chunks of a stream, each with the completion tokens it carries."""
    head = _head(asked, load_exchange("template_chunk").body)
    wants_usage = (asked.content.get("stream_options") or {}).get("include_usage") is True
    sent = 0
    for number in range(_n(asked)):
        for delta, tokens, finish in _deltas(answer):
            sent += tokens
            content = delta.get("content")
            text = content if isinstance(content, str) else ""
            choice = {
                "index": number,
                "delta": delta,
                "logprobs": _logprobs(asked, text),
                "finish_reason": finish,
            }
            chunk = {**head, "choices": [choice]}
            yield (
                chunk
                | _chunk_usage(asked, answer, scene, sent, last=bool(finish), first=sent == tokens),
                tokens,
            )
    yield from _usage_chunks(asked, answer, scene, head, wants_usage=wants_usage)


def _chunk_usage(
    asked: Asked, answer: Answer, scene: str, sent: int, *, last: bool, first: bool
) -> dict[str, Any]:
    match scene:
        case "usage-1" if last:
            return {"usage": usage_of(asked, answer, scene)}
        case "usage-3":
            return {"usage": usage_of(asked, answer, scene, completion=sent)}
        case "usage-4" if first:
            return {"usage": usage_of(asked, answer, scene)}
        case "usage-7" if first:
            return {"usage": usage_of(asked, answer, scene, completion=0)}
        case "usage-6" if last:
            return {"x_groq": {"id": "req_sim", "usage": usage_of(asked, answer, scene)}}
    return {}


def _usage_chunks(
    asked: Asked, answer: Answer, scene: str, head: dict[str, Any], *, wants_usage: bool
) -> Iterator[tuple[dict[str, Any], int]]:
    if scene in {"usage-1", "usage-3", "usage-4", "usage-6", "usage-9"}:
        return
    usage = usage_of(asked, answer, scene)
    if scene == "usage-5":
        choice = {"index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": None}
        yield {**head, "choices": [choice], "usage": usage}, 0
    elif wants_usage or scene.startswith("usage-"):
        repeats = 2 if scene == "usage-twice" else 1
        for _ in range(repeats):
            yield {**head, "choices": [], "usage": usage}, 0


def _deltas(answer: Answer) -> Iterator[tuple[dict[str, Any], int, str | None]]:
    """Delta, tokens, finish reason."""
    if answer.style != "no-role":
        yield {"role": "assistant", "content": ""}, 0, None
    yield from _thought_deltas(answer)
    if answer.refusal:
        yield {"refusal": answer.refusal}, tokens_of(answer.refusal), None
    if answer.audio:
        yield (
            {"audio": {"id": "audio_sim", "transcript": answer.text}},
            tokens_of(answer.text),
            None,
        )
        yield {"audio": {"data": answer.audio, "expires_at": 1_900_000_000}}, 0, None
    else:
        before = 0
        for number in range(len(answer.pieces)):
            total = tokens_of("".join(answer.pieces[: number + 1]))
            yield {"content": _piece(answer, number)}, total - before, None
            before = total
    if answer.annotations:
        yield {"annotations": list(answer.annotations)}, 0, None
    yield from _call_deltas(answer)
    yield {}, 0, answer.finish


def _piece(answer: Answer, number: int) -> Any:
    piece = answer.pieces[number]
    return [{"type": "text", "text": piece}] if answer.style == "parts" else piece


def _thought_deltas(answer: Answer) -> Iterator[tuple[dict[str, Any], int, str | None]]:
    if not answer.thought:
        return
    tokens = tokens_of(answer.thought)
    match answer.style:
        case "think" | "think-open":
            opening = "<th" if answer.style == "think" else ""
            if opening:
                yield {"content": opening}, 0, None
            yield {"content": f"{'ink>' if opening else ''}\n{answer.thought}\n</thi"}, tokens, None
            yield {"content": "nk>\n\n"}, 0, None
        case "parts":
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": answer.thought}]}
            yield {"content": [thinking]}, tokens, None
        case _:
            half = len(answer.thought) // 2
            yield _reasoning(answer, answer.thought[:half]), tokens // 2, None
            yield _reasoning(answer, answer.thought[half:]), tokens - tokens // 2, None


def _call_deltas(answer: Answer) -> Iterator[tuple[dict[str, Any], int, str | None]]:
    """Calls start one after another and their arguments interleave, as parallel calls do."""
    whole = answer.style in {"no-index", "zero-index", "object-arguments"}
    for number, call in enumerate(answer.calls):
        shown = _call(answer, number)
        if not whole:
            shown["function"] = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [_indexed(answer, number, shown)]}, tokens_of(call.name), None
    if whole:
        return
    for start in range(0, max((len(call.arguments) for call in answer.calls), default=0), 6):
        for number, call in enumerate(answer.calls):
            piece = call.arguments[start : start + 6]
            if piece:
                shown = {"function": {"arguments": piece}}
                yield {"tool_calls": [_indexed(answer, number, shown)]}, tokens_of(piece), None


def _indexed(answer: Answer, number: int, shown: dict[str, Any]) -> dict[str, Any]:
    match answer.style:
        case "no-index":
            return shown
        case "zero-index":
            return {"index": 0, **shown}
    return {"index": number, **shown}


def pieces_of(asked: Asked, answer: Answer, scene: str) -> Pieces:
    for chunk, tokens in chunks_of(asked, answer, scene):
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n", tokens


FAILURE = {"error": {"message": "The engine fell over", "type": "server_error", "code": 500}}

CHAT = Tongue(
    folder="openai_chat",
    prompt=prompt_from,
    body=body_of,
    pieces=pieces_of,
    end=b"data: [DONE]\n\n",
    failure=b"data: " + json.dumps(FAILURE).encode() + b"\n\n",
    bodies={
        "no-choices": '{"id": "x", "object": "chat.completion", "choices": []}',
        "error-200": '{"error": {"message": "The server had an error", "code": 500}}',
        "usage-8": '{"error": {"message": "failed late"}, "usage": {"prompt_tokens": 5}}',
        "half-json": '{"id": "x", "choices": [{"index": 0, "mess',
    },
    streams={
        "sse-error-first": b'data: {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 529}}\n\n',
    },
)
