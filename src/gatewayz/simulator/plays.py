"""Plays: the actions that answer a request, by its scene: an answer, an exchange, a fault, or an answer that breaks."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gatewayz.simulator.answers import KNOWN_MODELS, SCENES, Answer, cut_to, echo
from gatewayz.simulator.chat import body_of, chunks_of
from gatewayz.simulator.exchanges import exchange_names, load_exchange
from gatewayz.simulator.faults import (
    HANG_S,
    LAST,
    Action,
    Actions,
    Close,
    Reset,
    Send,
    Wait,
    fault_actions,
    piece,
    stream_head,
    whole,
)
from gatewayz.simulator.oracle import Asked, Invoice, prompt_tokens_of

DONE = b"data: [DONE]\n\n"
FAULT, EXCHANGE = "fault-", "exchange-"


def played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """The invoice of the request, and what happens on its connection."""
    model = str(asked.content.get("model", ""))
    answer = answer_of(asked, scene)
    invoice = Invoice(asked.number, model, prompt_tokens_of(asked.content), answer.completion_tokens if answer else 0)
    if scene.startswith(FAULT):
        invoice.fault = scene
        broken = _broken(asked, scene.removeprefix(FAULT))
        found = broken if broken is not None else fault_actions(scene.removeprefix(FAULT))
        return invoice, found if found is not None else _unknown(model)
    if scene.startswith(EXCHANGE) and scene.removeprefix(EXCHANGE) in exchange_names():
        return invoice, _exchange(scene.removeprefix(EXCHANGE))
    if answer is None:
        return invoice, _unknown(model)
    return invoice, _answered(asked, answer, scene)


def answer_of(asked: Asked, scene: str) -> Answer | None:
    """What the scene says to this request; nothing for scenes that say nothing of their own."""
    make = SCENES.get(scene) or (echo if scene.startswith("usage-") or scene in KNOWN_MODELS else None)
    if scene.startswith(FAULT):
        make = SCENES["long"]
    if make is None:
        return None
    limit = asked.content.get("max_completion_tokens") or asked.content.get("max_tokens")
    stop = asked.content.get("stop") or []
    return cut_to(make(asked), limit, [stop] if isinstance(stop, str) else stop)


def _unknown(model: str) -> Actions:
    body: dict[str, Any] = json.loads(load_exchange("error_404").content())
    body["error"]["message"] = f"The model `{model}` does not exist or you do not have access to it."
    yield whole(404, json.dumps(body).encode())


def _exchange(name: str) -> Actions:
    exchange = load_exchange(name)
    if exchange.frames is None:
        yield whole(exchange.status, exchange.content(), **exchange.headers)
        return
    yield stream_head()
    yield piece(exchange.content())
    yield LAST


def _answered(asked: Asked, answer: Answer, scene: str) -> Actions:
    if not asked.streamed:
        if answer.gap_s:
            yield Wait(answer.gap_s * len(answer.pieces))
        body = json.dumps(body_of(asked, answer, scene)).encode()
        sent = whole(200, body, x_request_id=f"req_sim{asked.number}")
        yield Send(sent.data, answer.completion_tokens)
        return
    yield stream_head()
    for data, tokens in _spelled(asked, answer, scene):
        yield piece(data, tokens)
        if answer.gap_s:
            yield Wait(answer.gap_s)
    yield piece(DONE)
    yield LAST


def _spelled(asked: Asked, answer: Answer, scene: str) -> Iterator[tuple[bytes, int]]:
    for chunk, tokens in chunks_of(asked, answer, scene):
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n", tokens


def _broken(asked: Asked, name: str) -> Actions | None:
    """Faults in the middle of an answer of 200 words; the argument counts content chunks."""
    if name.startswith(NOT_BREAKS):
        return None
    for known, play in BREAKS.items():
        if name == known or name.startswith(f"{known}-"):
            argument = name[len(known) + 1 :]
            count = int(argument) if argument.isdigit() else 3
            answer = SCENES["long"](asked)
            # The first chunk says the role; the count is of those with content.
            pieces = list(_spelled(asked, answer, "long"))
            return play(pieces, count + 1)
    return None


Pieces = list[tuple[bytes, int]]


def _begun(pieces: Iterable[tuple[bytes, int]]) -> Actions:
    yield stream_head()
    for data, tokens in pieces:
        yield piece(data, tokens)


def _then(*actions: Action) -> Callable[[Pieces, int], Actions]:
    def play(pieces: Pieces, count: int) -> Actions:
        yield from _begun(pieces[:count])
        # What was written must arrive before the connection breaks, or nothing would be in the middle.
        yield Wait(0.02)
        yield from actions

    return play


def _without_done(pieces: Pieces, count: int) -> Actions:
    yield from _begun(pieces)
    yield LAST


def _without_finish(pieces: Pieces, count: int) -> Actions:
    yield from _begun(pieces[:count])
    yield piece(DONE)
    yield LAST


def _one_byte(pieces: Pieces, count: int) -> Actions:
    yield stream_head()
    for data, tokens in pieces[:count]:
        for number, byte in enumerate(data):
            yield piece(bytes([byte]), tokens if number == 0 else 0)
    yield piece(pieces[-1][0])
    yield piece(DONE)
    yield LAST


def _invalid_utf8(pieces: Pieces, count: int) -> Actions:
    yield from _begun(pieces[:count])
    yield piece(pieces[count][0].replace(b"word", b"w\xff\xferd"))
    yield piece(pieces[count + 1][0].replace(b"word", b"w\\ud800rd"))
    yield piece(pieces[-1][0])
    yield piece(DONE)
    yield LAST


def _bom(pieces: Pieces, count: int) -> Actions:
    yield stream_head()
    yield piece(b"\xef\xbb\xbf" + pieces[0][0])
    yield from (piece(data, tokens) for data, tokens in pieces[1:count])
    yield piece(pieces[-1][0])
    yield piece(DONE)
    yield LAST


def _json_for_stream(pieces: Pieces, count: int) -> Actions:
    yield whole(200, load_exchange("template_body").content())


ERROR_FRAME = b'data: {"error": {"message": "The engine fell over", "type": "server_error", "code": 500}}\n\n'

BREAKS: dict[str, Callable[[Pieces, int], Actions]] = {
    "cut": _then(Close()),
    "rst": _then(Reset()),
    "end": _then(LAST),
    "hang": _then(Wait(HANG_S)),
    "sse-error": _then(piece(ERROR_FRAME), LAST),
    "no-done": _without_done,
    "no-finish": _without_finish,
    "one-byte": _one_byte,
    "invalid-utf8": _invalid_utf8,
    "bom": _bom,
    "json-for-stream": _json_for_stream,
}
# Names that faults of their own begin with must not be taken for these.
NOT_BREAKS = ("hang-before", "hang-headers", "rst-before", "sse-error-first")
