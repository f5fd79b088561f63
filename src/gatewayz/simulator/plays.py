"""Plays: the actions that answer a request, by its scene: an answer, an exchange, a fault, or an answer that breaks."""

import json
import re
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from gatewayz.simulator.answers import (
    KNOWN_MODELS,
    SCENES,
    SLOWLY,
    SLOWLY_GAP_S,
    Answer,
    cut_to,
    echo,
)
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
from gatewayz.simulator.oracle import Asked, Invoice
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.tongues import No, Tongue

FAULT, EXCHANGE = "fault-", "exchange-"
BREAKING = "long"
"""The scene whose answer breaks."""
PLACED = re.compile(r"^(usage-[0-9])(?:-(.+))?$")
"""A place of usage, and the scene that is played with it."""


def played(tongue: Tongue, asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """The invoice of the request, and what happens on its connection."""
    prompt = tongue.prompt(asked)
    answer = answer_of(prompt, scene)
    completion = answer.completion_tokens * prompt.choices if answer else 0
    invoice = Invoice(asked.number, asked.model, prompt.tokens, completion)
    if scene.startswith(FAULT):
        invoice.fault = scene
        broken = _broken(tongue, asked, scene.removeprefix(FAULT))
        found = broken if broken is not None else fault_actions(tongue, scene.removeprefix(FAULT))
        return invoice, found if found is not None else _unknown(tongue, asked.model)
    if scene.startswith(EXCHANGE) and scene.removeprefix(EXCHANGE) in exchange_names(tongue.folder):
        return invoice, _exchange(tongue, scene.removeprefix(EXCHANGE))
    if answer is None:
        return invoice, _unknown(tongue, asked.model)
    no = tongue.check(asked)
    if no is not None:
        invoice.fault = no[0]
        return invoice, _refused(tongue, no)
    return invoice, _answered(tongue, asked, answer, PLACED.sub(r"\1", scene))


def answer_of(prompt: Prompt, scene: str) -> Answer | None:
    """What the scene says to this request; nothing for scenes that say nothing of their own."""
    told = PLACED.fullmatch(scene)
    name = told[2] if told is not None and told[2] else scene
    if name not in SCENES and name.removesuffix(SLOWLY) in SCENES:
        answer = answer_of(prompt, name.removesuffix(SLOWLY))
        return replace(answer, gap_s=SLOWLY_GAP_S) if answer is not None else None
    make = SCENES.get(name) or (
        echo if scene.startswith("usage-") or scene in KNOWN_MODELS else None
    )
    if scene.startswith(FAULT):
        make = SCENES[BREAKING]
    return cut_to(make(prompt), prompt.limit, prompt.stops) if make is not None else None


def _unknown(tongue: Tongue, model: str) -> Actions:
    yield whole(404, load_exchange("error_404", tongue.errors or tongue.folder).filled(model=model))


def _refused(tongue: Tongue, no: No) -> Actions:
    exchange = load_exchange(no[0], tongue.folder)
    yield whole(exchange.status, exchange.filled(**no[1]))


def _exchange(tongue: Tongue, name: str) -> Actions:
    exchange = load_exchange(name, tongue.folder)
    if exchange.frames is None:
        yield whole(exchange.status, exchange.content(), **exchange.headers)
        return
    yield stream_head()
    yield piece(exchange.content())
    yield LAST


def _answered(tongue: Tongue, asked: Asked, answer: Answer, scene: str) -> Actions:
    if not asked.streamed:
        if answer.gap_s:
            yield Wait(answer.gap_s * len(answer.pieces))
        body = json.dumps(tongue.body(asked, answer, scene)).encode()
        sent = whole(200, body, x_request_id=f"req_sim{asked.number}")
        yield Send(sent.data, answer.completion_tokens)
        return
    yield stream_head()
    for data, tokens in tongue.pieces(asked, answer, scene):
        yield piece(data, tokens)
        if answer.gap_s:
            yield Wait(answer.gap_s)
    yield from _closed(tongue, [])


def _broken(tongue: Tongue, asked: Asked, name: str) -> Actions | None:
    """Faults in the middle of an answer of 200 words; the argument counts content pieces."""
    if name.startswith(NOT_BREAKS):
        return None
    for known, play in BREAKS.items():
        if name == known or name.startswith(f"{known}-"):
            argument = name[len(known) + 1 :]
            count = int(argument) if argument.isdigit() else 3
            answer = SCENES[BREAKING](tongue.prompt(asked))
            pieces = list(tongue.pieces(asked, answer, BREAKING))
            return play(tongue, pieces, count + tongue.opening)
    return None


Pieces = list[tuple[bytes, int]]
Break = Callable[[Tongue, Pieces, int], Actions]


def _begun(pieces: Iterable[tuple[bytes, int]]) -> Actions:
    yield stream_head()
    for data, tokens in pieces:
        yield piece(data, tokens)


def _closed(tongue: Tongue, pieces: Pieces) -> Actions:
    """The last pieces of an answer, and its end."""
    yield from (piece(data) for data, _ in pieces[-tongue.closing :])
    if tongue.end:
        yield piece(tongue.end)
    yield LAST


def _then(*actions: Action) -> Break:
    def play(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
        yield from _begun(pieces[:count])
        # What was written must arrive before the connection breaks, or nothing would be in the middle.
        yield Wait(0.02)
        yield from actions

    return play


def _without_done(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
    yield from _begun(pieces)
    yield LAST


def _without_finish(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
    yield from _begun(pieces[:count])
    yield from _closed(tongue, [])


def _one_byte(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
    yield stream_head()
    for data, tokens in pieces[:count]:
        for number, byte in enumerate(data):
            yield piece(bytes([byte]), tokens if number == 0 else 0)
    yield from _closed(tongue, pieces)


def _invalid_utf8(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
    yield from _begun(pieces[:count])
    yield piece(pieces[count][0].replace(b"word", b"w\xff\xferd"))
    yield piece(pieces[count + 1][0].replace(b"word", b"w\\ud800rd"))
    yield from _closed(tongue, pieces)


def _bom(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
    yield stream_head()
    yield piece(b"\xef\xbb\xbf" + pieces[0][0])
    yield from (piece(data, tokens) for data, tokens in pieces[1:count])
    yield from _closed(tongue, pieces)


def _json_for_stream(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
    yield whole(200, load_exchange("template_body", tongue.folder).content())


def _failing(tongue: Tongue, pieces: Pieces, count: int) -> Actions:
    yield from _then(piece(tongue.failure), LAST)(tongue, pieces, count)


BREAKS: dict[str, Break] = {
    "cut": _then(Close()),
    "rst": _then(Reset()),
    "end": _then(LAST),
    "hang": _then(Wait(HANG_S)),
    "sse-error": _failing,
    "no-done": _without_done,
    "no-finish": _without_finish,
    "one-byte": _one_byte,
    "invalid-utf8": _invalid_utf8,
    "bom": _bom,
    "json-for-stream": _json_for_stream,
}
# Names that faults of their own begin with must not be taken for these.
NOT_BREAKS = ("hang-before", "hang-headers", "rst-before", "sse-error-first")
