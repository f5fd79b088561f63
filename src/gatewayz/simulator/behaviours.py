"""Behaviours: the actions that answer a request, by its scene.

A scene is an answer, an exchange, a fault, or an answer that breaks.
"""

import json
import re
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from gatewayz.simulator.answers import (
    KNOWN_MODELS,
    SCENES,
    SLOW_SUFFIX,
    SLOW_SUFFIX_GAP_S,
    SceneAnswer,
    echo,
    truncate,
)
from gatewayz.simulator.exchanges import exchange_names, load_exchange
from gatewayz.simulator.faults import (
    HANG_S,
    LAST_CHUNK,
    Action,
    Actions,
    CloseConnection,
    ResetConnection,
    SendBytes,
    Sleep,
    fault_actions,
    http_chunk,
    http_response,
    stream_head,
)
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import Invoice, RecordedRequest
from gatewayz.simulator.wire_format import WireFormat

FAULT_PREFIX, EXCHANGE_PREFIX = "fault-", "exchange-"
DEFAULT_BREAK_PIECES = 3
FLUSH_S = 0.02
"""How long what was written is given to arrive, before the connection breaks."""
BREAK_SCENE = "long"
"""The scene whose answer breaks."""
USAGE_SCENE = re.compile(r"^(usage-[0-9])(?:-(.+))?$")
"""A place of usage, and the scene that is played with it: `usage-9-tools`."""


def play(wire: WireFormat, request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """The invoice of the request, and what happens on its connection."""
    prompt = wire.prompt(request)
    answer = answer_of(prompt, scene)
    completion = answer.completion_tokens * prompt.choices if answer else 0
    invoice = Invoice(request.number, request.model, prompt.tokens, completion)

    if scene.startswith(FAULT_PREFIX):
        invoice.fault = scene
        name = scene.removeprefix(FAULT_PREFIX)
        actions = _break_actions(wire, request, name)
        if actions is None:
            actions = fault_actions(wire, name)
        return invoice, actions if actions is not None else _unknown_model(wire, request.model)

    exchange = scene.removeprefix(EXCHANGE_PREFIX)
    if scene.startswith(EXCHANGE_PREFIX) and exchange in exchange_names(wire.folder):
        return invoice, _exchange_actions(wire, exchange)
    if answer is None:
        return invoice, _unknown_model(wire, request.model)

    rejection = wire.check(request)
    if rejection is not None:
        invoice.fault, words = rejection
        return invoice, _rejection_actions(wire, invoice.fault, words)
    return invoice, _answer_actions(wire, request, answer, USAGE_SCENE.sub(r"\1", scene))


def answer_of(prompt: Prompt, scene: str) -> SceneAnswer | None:
    """What the scene says to this request; `None` for one that says nothing of its own."""
    match = USAGE_SCENE.fullmatch(scene)
    name = match[2] if match is not None and match[2] else scene
    if name not in SCENES and name.removesuffix(SLOW_SUFFIX) in SCENES:
        answer = answer_of(prompt, name.removesuffix(SLOW_SUFFIX))
        return replace(answer, gap_s=SLOW_SUFFIX_GAP_S) if answer is not None else None

    say = SCENES.get(name)
    if scene.startswith(FAULT_PREFIX):
        say = SCENES[BREAK_SCENE]
    elif say is None and (scene.startswith("usage-") or scene in KNOWN_MODELS):
        say = echo
    return truncate(say(prompt), prompt.limit, prompt.stops) if say is not None else None


def _unknown_model(wire: WireFormat, model: str) -> Actions:
    exchange = load_exchange("error_404", wire.errors or wire.folder)
    yield http_response(404, exchange.render(model=model))


def _rejection_actions(wire: WireFormat, name: str, words: dict[str, str]) -> Actions:
    exchange = load_exchange(name, wire.folder)
    yield http_response(exchange.status, exchange.render(**words))


def _exchange_actions(wire: WireFormat, name: str) -> Actions:
    exchange = load_exchange(name, wire.folder)
    if exchange.frames is None:
        yield http_response(exchange.status, exchange.content(), **exchange.headers)
        return
    yield stream_head()
    yield http_chunk(exchange.content())
    yield LAST_CHUNK


def _answer_actions(
    wire: WireFormat, request: RecordedRequest, answer: SceneAnswer, scene: str
) -> Actions:
    if not request.streamed:
        if answer.gap_s:
            yield Sleep(answer.gap_s * len(answer.pieces))
        body = json.dumps(wire.body(request, answer, scene)).encode()
        response = http_response(200, body, x_request_id=f"req_sim{request.number}")
        yield SendBytes(response.data, answer.completion_tokens)
        return

    yield stream_head()
    for data, tokens in wire.pieces(request, answer, scene):
        yield http_chunk(data, tokens)
        if answer.gap_s:
            yield Sleep(answer.gap_s)
    yield from _end_stream(wire, [])


def _break_actions(wire: WireFormat, request: RecordedRequest, name: str) -> Actions | None:
    """Faults in the middle of an answer of 200 words; the argument counts content pieces.

    Example: `cut-3` closes the connection after three words.
    """
    if name.startswith(NOT_BREAKS):
        return None
    for known, break_off in BREAKS.items():
        if name == known or name.startswith(f"{known}-"):
            argument = name[len(known) + 1 :]
            count = int(argument) if argument.isdigit() else DEFAULT_BREAK_PIECES
            answer = SCENES[BREAK_SCENE](wire.prompt(request))
            pieces = list(wire.pieces(request, answer, BREAK_SCENE))
            return break_off(wire, pieces, count + wire.opening)
    return None


PieceList = list[tuple[bytes, int]]
"""All events of a stream, each with the tokens that it carries."""
BreakBehaviour = Callable[[WireFormat, PieceList, int], Actions]


def _open_stream(pieces: Iterable[tuple[bytes, int]]) -> Actions:
    yield stream_head()
    for data, tokens in pieces:
        yield http_chunk(data, tokens)


def _end_stream(wire: WireFormat, pieces: PieceList) -> Actions:
    """The last pieces of an answer, and its end."""
    yield from (http_chunk(data) for data, _ in pieces[-wire.closing :])
    if wire.end:
        yield http_chunk(wire.end)
    yield LAST_CHUNK


def _break_with(*actions: Action) -> BreakBehaviour:
    def play(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
        yield from _open_stream(pieces[:count])
        # What was written must arrive first, or nothing would break in the middle.
        yield Sleep(FLUSH_S)
        yield from actions

    return play


def _without_done(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
    yield from _open_stream(pieces)
    yield LAST_CHUNK


def _without_finish(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
    yield from _open_stream(pieces[:count])
    yield from _end_stream(wire, [])


def _one_byte(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
    yield stream_head()
    for data, tokens in pieces[:count]:
        for number, byte in enumerate(data):
            yield http_chunk(bytes([byte]), tokens if number == 0 else 0)
    yield from _end_stream(wire, pieces)


def _invalid_utf8(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
    yield from _open_stream(pieces[:count])
    yield http_chunk(pieces[count][0].replace(b"word", b"w\xff\xferd"))
    yield http_chunk(pieces[count + 1][0].replace(b"word", b"w\\ud800rd"))
    yield from _end_stream(wire, pieces)


def _bom(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
    yield stream_head()
    yield http_chunk(b"\xef\xbb\xbf" + pieces[0][0])
    yield from (http_chunk(data, tokens) for data, tokens in pieces[1:count])
    yield from _end_stream(wire, pieces)


def _json_for_stream(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
    yield http_response(200, load_exchange("template_body", wire.folder).content())


def _stream_error(wire: WireFormat, pieces: PieceList, count: int) -> Actions:
    yield from _break_with(http_chunk(wire.failure), LAST_CHUNK)(wire, pieces, count)


BREAKS: dict[str, BreakBehaviour] = {
    "cut": _break_with(CloseConnection()),
    "rst": _break_with(ResetConnection()),
    "end": _break_with(LAST_CHUNK),
    "hang": _break_with(Sleep(HANG_S)),
    "sse-error": _stream_error,
    "no-done": _without_done,
    "no-finish": _without_finish,
    "one-byte": _one_byte,
    "invalid-utf8": _invalid_utf8,
    "bom": _bom,
    "json-for-stream": _json_for_stream,
}
"""Fault → how an answer breaks off after so many pieces."""

NOT_BREAKS = ("hang-before", "hang-headers", "rst-before", "sse-error-first")
"""Faults of `faults.FAULTS` whose names begin like one of these."""
