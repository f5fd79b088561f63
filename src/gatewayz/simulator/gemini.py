"""Gemini, as Google speaks it: answers in the words of the exchange files, streamed and whole.

The shapes come from `exchanges/gemini/template_*.json`; nothing here uses the gateway's own encoders.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

from gatewayz.simulator.answers import Answer
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, whole
from gatewayz.simulator.gemini_prompt import prompt_from
from gatewayz.simulator.gemini_rules import SIGNATURE, why_not
from gatewayz.simulator.oracle import Asked, Invoice, tokens_of
from gatewayz.simulator.plays import played
from gatewayz.simulator.tongues import Pieces, Tongue

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


def _n(asked: Asked) -> int:
    return int((asked.content.get("generationConfig") or {}).get("candidateCount") or 1)


def _usage(asked: Asked, answer: Answer, scene: str, said: int) -> Document:
    """The usage so far: `said` of the answer's own tokens; thoughts come first and count beside them."""
    if scene == "usage-9":
        return {}
    usage = copy.deepcopy(load_exchange("template_usage", FOLDER).body)
    thought = tokens_of(answer.thought) * _n(asked)
    prompt = prompt_from(asked).tokens
    usage |= {"promptTokenCount": prompt, "candidatesTokenCount": said}
    usage["totalTokenCount"] = prompt + said + thought
    usage["promptTokensDetails"][0]["tokenCount"] = prompt
    if thought:
        usage["thoughtsTokenCount"] = thought
    return {"usageMetadata": usage | WRONG_USAGE.get(scene, {})}


def _head(asked: Asked, template: str) -> Document:
    head: Document = copy.deepcopy(load_exchange(template, FOLDER).body)
    head |= {"modelVersion": asked.model, "responseId": f"sim{asked.number:012d}"}
    head.pop("usageMetadata", None)
    return head


def _parts(asked: Asked, answer: Answer) -> Iterator[tuple[Document, int]]:
    """Parts in the order in which they stream, each with its tokens."""
    config = (asked.content.get("generationConfig") or {}).get("thinkingConfig") or {}
    if answer.thought:
        tokens = tokens_of(answer.thought)
        if config.get("includeThoughts"):
            half = len(answer.thought) // 2
            yield {"text": answer.thought[:half], "thought": True}, tokens // 2
            yield {"text": answer.thought[half:], "thought": True}, tokens - tokens // 2
    before = 0
    for number in range(len(answer.pieces)):
        total = tokens_of("".join(answer.pieces[: number + 1]))
        yield {"text": answer.pieces[number]}, total - before
        before = total
    if answer.refusal:
        yield {"text": answer.refusal}, tokens_of(answer.refusal)
    if answer.audio:
        yield {"inlineData": {"mimeType": "audio/wav", "data": answer.audio}}, 0
    for number, call in enumerate(answer.calls):
        made: Document = {
            "functionCall": {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}
        }
        if answer.style == "no-id":
            del made["functionCall"]["id"]
        yield (
            made | ({} if number else {"thoughtSignature": SIGNATURE}),
            tokens_of(call.name + call.arguments),
        )


def _last(answer: Answer) -> list[Document]:
    """What the end of a stream says beside its reason: the signature of words that were thought about."""
    return (
        [{"text": "", "thoughtSignature": SIGNATURE}]
        if answer.thought and answer.pieces
        else [{"text": ""}]
    )


def _candidate(number: int, parts: list[Document], **more: Any) -> Document:
    return {"content": {"parts": parts, "role": "model"}, "index": number, **more}


def _reason(answer: Answer) -> str:
    return REASONS.get(answer.finish, "STOP")


def _logprobs(asked: Asked, text: str) -> Document:
    config = asked.content.get("generationConfig") or {}
    if not config.get("responseLogprobs") or not text:
        return {}
    token = {"token": text, "tokenId": 7, "logProbability": -0.25}
    return {
        "logprobsResult": {
            "topCandidates": [{"candidates": [token] * int(config.get("logprobs") or 0)}],
            "chosenCandidates": [token],
        }
    }


def body_of(asked: Asked, answer: Answer, scene: str) -> Document:
    """A whole response."""
    document = _head(asked, "template_body")
    parts = _joined([part for part, _ in _parts(asked, answer)])
    if answer.thought and answer.pieces:
        parts[-1] |= {"thoughtSignature": SIGNATURE}
    ending = {"finishReason": _reason(answer), **_logprobs(asked, answer.text)}
    document["candidates"] = [_candidate(number, parts, **ending) for number in range(_n(asked))]
    said = answer.completion_tokens - tokens_of(answer.thought)
    return document | _usage(asked, answer, scene, said * _n(asked))


def _joined(parts: list[Document]) -> list[Document]:
    """Texts of one kind as one part, as an answer that is not streamed has them."""
    joined: list[Document] = []
    for part in parts:
        if (
            joined
            and "text" in part
            and "text" in joined[-1]
            and part.get("thought") == joined[-1].get("thought")
        ):
            joined[-1] = {**joined[-1], "text": joined[-1]["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


def pieces_of(asked: Asked, answer: Answer, scene: str) -> Pieces:
    """Responses of a stream, each with the tokens that it carries."""
    head, said = _head(asked, "template_chunk"), 0
    for number in range(_n(asked)):
        for part, tokens in _parts(asked, answer):
            said += 0 if part.get("thought") else tokens
            candidate = _candidate(number, [part], **_logprobs(asked, part.get("text", "")))
            yield (
                _event(head | {"candidates": [candidate]} | _usage(asked, answer, scene, said)),
                tokens,
            )
        ending = _candidate(number, _last(answer), finishReason=_reason(answer))
        yield _event(head | {"candidates": [ending]} | _usage(asked, answer, scene, said)), 0


def _event(document: Document) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\r\n\r\n"


def _failure(name: str) -> bytes:
    return b"data: " + load_exchange(name, FOLDER).content() + b"\r\n\r\n"


GEMINI = Tongue(
    folder=FOLDER,
    prompt=prompt_from,
    body=body_of,
    pieces=pieces_of,
    opening=0,
    failure=_failure("error_500"),
    bodies={
        "no-choices": '{"usageMetadata": {"promptTokenCount": 5}, "modelVersion": "x"}',
        "no-parts": '{"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]}',
        "error-200": load_exchange("error_500", FOLDER).content().decode(),
        "half-json": '{"candidates": [{"content": {"par',
    },
    streams={"sse-error-first": _failure("error_503")},
)


def served(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """The play, unless the request is one that Google refuses."""
    wrong = why_not(asked.model, asked.content)
    if not wrong:
        return played(GEMINI, asked, scene)
    body = load_exchange("error_400_refused", FOLDER).filled(message=wrong)
    return Invoice(asked.number, asked.model, 0, 0, fault="refused"), iter([whole(400, body)])
