"""Gemini, as Google speaks it: answers in the words of the exchange files.

The shapes come from `exchanges/gemini/template_*.json`; nothing here uses the gateway's own
encoders.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.answers import SceneAnswer
from gatewayz.simulator.behaviours import play
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, http_response
from gatewayz.simulator.gemini_prompt import prompt_from_request
from gatewayz.simulator.gemini_validation import SIGNATURE, rejection_message
from gatewayz.simulator.recorder import Invoice, RecordedRequest, count_tokens
from gatewayz.simulator.wire_format import Pieces, WireFormat

FOLDER = "gemini"
REASONS = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
Document = dict[str, Any]

WRONG_USAGE: dict[str, Document] = {
    "usage-cached": {"promptTokenCount": 2048, "cachedContentTokenCount": 1800},
    "usage-cached-over": {"promptTokenCount": 10, "cachedContentTokenCount": 50},
    "usage-negative": {"promptTokenCount": -5, "candidatesTokenCount": -1},
    "usage-floats": {"promptTokenCount": 10.0, "candidatesTokenCount": 4.0},
    "usage-strings": {"promptTokenCount": "10", "candidatesTokenCount": "4"},
    "usage-huge": {"promptTokenCount": 10**18, "candidatesTokenCount": 4},
}


def _candidate_count(request: RecordedRequest) -> int:
    return int((request.content.get("generationConfig") or {}).get("candidateCount") or 1)


def _usage(request: RecordedRequest, answer: SceneAnswer, scene: str, output: int) -> Document:
    """The usage so far: `output` of the answer's own tokens, and thoughts beside them."""
    if scene == "usage-9":
        return {}
    usage = copy.deepcopy(load_exchange("template_usage", FOLDER).body)
    thinking = count_tokens(answer.thought) * _candidate_count(request)
    prompt = prompt_from_request(request).tokens
    usage |= {"promptTokenCount": prompt, "candidatesTokenCount": output}
    usage["totalTokenCount"] = prompt + output + thinking
    usage["promptTokensDetails"][0]["tokenCount"] = prompt
    if thinking:
        usage["thoughtsTokenCount"] = thinking
    return {"usageMetadata": usage | WRONG_USAGE.get(scene, {})}


def _head(request: RecordedRequest, template: str) -> Document:
    head: Document = copy.deepcopy(load_exchange(template, FOLDER).body)
    head |= {"modelVersion": request.model, "responseId": f"sim{request.number:012d}"}
    head.pop("usageMetadata", None)
    return head


def _parts(request: RecordedRequest, answer: SceneAnswer) -> Iterator[tuple[Document, int]]:
    """Parts in the order in which they stream, each with its tokens."""
    config = (request.content.get("generationConfig") or {}).get("thinkingConfig") or {}
    if answer.thought and config.get("includeThoughts"):
        tokens, half = count_tokens(answer.thought), len(answer.thought) // 2
        yield {"text": answer.thought[:half], "thought": True}, tokens // 2
        yield {"text": answer.thought[half:], "thought": True}, tokens - tokens // 2

    before = 0
    for number in range(len(answer.pieces)):
        total = count_tokens("".join(answer.pieces[: number + 1]))
        yield {"text": answer.pieces[number]}, total - before
        before = total
    if answer.refusal:
        yield {"text": answer.refusal}, count_tokens(answer.refusal)
    if answer.audio:
        yield {"inlineData": {"mimeType": "audio/wav", "data": answer.audio}}, 0

    for number, call in enumerate(answer.calls):
        wire = {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}
        if answer.style == "no-id":
            del wire["id"]
        # Only the first call of a turn is signed.
        signature = {} if number else {"thoughtSignature": SIGNATURE}
        yield {"functionCall": wire, **signature}, count_tokens(call.name + call.arguments)


def _final_parts(answer: SceneAnswer) -> list[Document]:
    """The last parts of a stream: the signature of words that were thought about."""
    signed = answer.thought and answer.pieces
    return [{"text": "", **({"thoughtSignature": SIGNATURE} if signed else {})}]


def _candidate(number: int, parts: list[Document], **fields: Any) -> Document:
    return {"content": {"parts": parts, "role": "model"}, "index": number, **fields}


def _reason(answer: SceneAnswer) -> str:
    return REASONS.get(answer.finish, "STOP")


def _logprobs(request: RecordedRequest, text: str) -> Document:
    config = request.content.get("generationConfig") or {}
    if not config.get("responseLogprobs") or not text:
        return {}
    token = {"token": text, "tokenId": 7, "logProbability": -0.25}
    alternatives = [token] * int(config.get("logprobs") or 0)
    result = {"topCandidates": [{"candidates": alternatives}], "chosenCandidates": [token]}
    return {"logprobsResult": result}


def body_of(request: RecordedRequest, answer: SceneAnswer, scene: str) -> Document:
    """A whole response."""
    document = _head(request, "template_body")
    parts = _join_texts([part for part, _ in _parts(request, answer)])
    if answer.thought and answer.pieces:
        parts[-1] |= {"thoughtSignature": SIGNATURE}
    ending = {"finishReason": _reason(answer), **_logprobs(request, answer.text)}
    document["candidates"] = [
        _candidate(number, parts, **ending) for number in range(_candidate_count(request))
    ]
    output = answer.completion_tokens - count_tokens(answer.thought)
    return document | _usage(request, answer, scene, output * _candidate_count(request))


def _join_texts(parts: list[Document]) -> list[Document]:
    """Texts of one kind as one part, as an answer that is not streamed has them."""
    joined: list[Document] = []
    for part in parts:
        last = joined[-1] if joined else {}
        are_texts = "text" in part and "text" in last
        if are_texts and part.get("thought") == last.get("thought"):
            joined[-1] = {**last, "text": last["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


def pieces_of(request: RecordedRequest, answer: SceneAnswer, scene: str) -> Pieces:
    """Responses of a stream, each with the tokens that it carries."""
    head, output = _head(request, "template_chunk"), 0
    for number in range(_candidate_count(request)):
        for part, tokens in _parts(request, answer):
            output += 0 if part.get("thought") else tokens
            candidate = _candidate(number, [part], **_logprobs(request, part.get("text", "")))
            usage = _usage(request, answer, scene, output)
            yield _encode_event(head | {"candidates": [candidate]} | usage), tokens

        ending = _candidate(number, _final_parts(answer), finishReason=_reason(answer))
        usage = _usage(request, answer, scene, output)
        yield _encode_event(head | {"candidates": [ending]} | usage), 0


def _encode_event(document: Document) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\r\n\r\n"


def _failure(name: str) -> bytes:
    return b"data: " + load_exchange(name, FOLDER).content() + b"\r\n\r\n"


GEMINI = WireFormat(
    folder=FOLDER,
    prompt=prompt_from_request,
    body=body_of,
    pieces=pieces_of,
    opening=0,
    failure=_failure("error_500"),
    fault_bodies={
        "no-choices": '{"usageMetadata": {"promptTokenCount": 5}, "modelVersion": "x"}',
        "no-parts": '{"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]}',
        "error-200": load_exchange("error_500", FOLDER).content().decode(),
        "half-json": '{"candidates": [{"content": {"par',
    },
    fault_streams={"sse-error-first": _failure("error_503")},
)


def play_gemini(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """The scene, unless the request is one that Google refuses."""
    message = rejection_message(request.model, request.content)
    return reject(request, message) if message else play(GEMINI, request, scene)


def reject(request: RecordedRequest, message: str) -> tuple[Invoice, Actions]:
    """A request that Google refuses with this sentence."""
    body = load_exchange("error_400_refused", FOLDER).render(message=message)
    invoice = Invoice(request.number, request.model, 0, 0, fault="refused")
    return invoice, iter([http_response(400, body)])
