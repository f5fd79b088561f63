"""Records as they are stored: what follows from other cells is left out, what many calls have is
stored once, and attempts stand in the row of their call.

Law: `expand_call(compact_call(record))` is the record, and rows of older versions, whose cells say
it all, expand to what they say.

- `asked_model`: empty where it is `model`.
- `usage`: empty where it is the two counts beside it, `{"input": …, "output": …}`.
- `endpoint`, `dialect`: empty where they are those of `USUAL_ENDPOINTS`.
- `trace`: `~` where it is the call's own; `~` and 24 bytes in base64 where it is a client's whose call
  is sampled (W3C Trace Context).
- `price`, `reasons`, `upstream_id`: `=` and the id of a text in `call_texts`, where the text came
  before.
- `attempts`: a list for each, in the order of `ATTEMPT_CELLS`, without what stands at its end and is
  the default: `0`, which is the call's own provider, model or upstream id, and else empty.
"""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gatewayz.core.calls import is_own_traceparent, own_traceparent
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.store.sql.ledger.records import ATTEMPT_COLUMNS, RECORD_COLUMNS, RecordRows

REFERENCE = "="
"""Begins a cell that names a text; twice, a text that begins so itself."""
MIN_SHARED_CHARS = 24
"""A shorter text is no longer than the reference to it."""
MAX_SHARED_CHARS = 8_192
MAX_KNOWN_TEXTS = 2_000
"""Texts that a process remembers; what it forgets is stored in the row until it comes twice."""
ID_BYTES = 7
"""Of an id: 100,000 texts have two of the same with a chance of one in ten million."""
SHARED_COLUMNS = ("price", "reasons", "upstream_id")
SHORT_TRACE = "~"
TRACE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
USUAL_DIALECT = "openai_chat"
USUAL_ENDPOINTS = {
    "openai_chat": "/v1/chat/completions",
    "anthropic_messages": "/v1/messages",
    "openai_embeddings": "/v1/embeddings",
}
"""Dialect → the endpoint that goes without saying; rows are read by it, so it never changes."""
SAME = 0
"""In an attempt: as the call has it. Nothing else there is this number but at a place for numbers."""
ATTEMPT_CELLS = (
    *("credential", "started_ms", "first_event_ms", "ended_ms", "status"),
    *("upstream_request", "fault", "message", "provider", "model", "upstream_id"),
)
CALLS_OWN = ("provider", "model", "upstream_id")
DEFAULTS: tuple[Any, ...] = ("", 0, None, 0, 0, "", "", "", SAME, SAME, SAME)
_cell_places = tuple(ATTEMPT_COLUMNS.index(name) for name in ATTEMPT_CELLS)
_own_places = tuple(ATTEMPT_CELLS.index(name) for name in CALLS_OWN)
_call_places = tuple(RECORD_COLUMNS.index(name) for name in CALLS_OWN)
_endpoint, _dialect, _asked, _model, _usage, _input, _output, _trace = (
    RECORD_COLUMNS.index(name)
    for name in (
        *("endpoint", "dialect", "asked_model", "model"),
        *("usage", "input_tokens", "output_tokens", "trace"),
    )
)
_shared_places = tuple(RECORD_COLUMNS.index(name) for name in SHARED_COLUMNS)


class SharedTexts:
    """Which texts came before, and which of them are stored: of one process, for its ledger.

    A text is stored apart when it comes the second time, so that one that never comes again is in
    one place too.
    """

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._stored: set[str] = set()

    def reference(self, text: str, to_store: dict[str, str]) -> str:
        """The cell for a text; a text that has to be stored for it goes to `to_store`, by id."""
        if text.startswith(REFERENCE):
            return REFERENCE + text
        if not MIN_SHARED_CHARS <= len(text) <= MAX_SHARED_CHARS:
            return text
        name = self._ids.get(text)
        if name is None:
            if len(self._ids) >= MAX_KNOWN_TEXTS:
                self._ids.clear()
                self._stored.clear()
            self._ids[text] = ""
            return text

        if not name:
            name = self._ids[text] = text_id(text)
        if name not in self._stored:
            to_store[name] = text
        return REFERENCE + name

    def confirm(self, stored: Iterable[str]) -> None:
        """The transaction that stored these has been committed."""
        self._stored.update(stored)


def text_id(text: str) -> str:
    """The name of a text: what it says, so that two processes store it once."""
    digest = hashlib.blake2b(text.encode(), digest_size=ID_BYTES).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def compact_call(
    record: RecordRows, texts: SharedTexts, to_store: dict[str, str]
) -> tuple[Any, ...]:
    """A record as a row of `calls`, in the order of `CALL_COLUMNS`."""
    row = list(record.call)
    if row[_asked] == row[_model]:
        row[_asked] = ""
    if row[_usage] == plain_usage(row[_input], row[_output]):
        row[_usage] = ""
    if row[_endpoint] == USUAL_ENDPOINTS.get(row[_dialect]):
        row[_endpoint] = ""
        if row[_dialect] == USUAL_DIALECT:
            row[_dialect] = ""
    row[_trace] = _compact_trace(row[0], row[_trace])
    for place in _shared_places:
        row[place] = texts.reference(row[place], to_store)
    row.append(_compact_attempts(record))
    return tuple(row)


def plain_usage(input_tokens: int, output_tokens: int) -> str:
    """The usage that counts nothing else than these."""
    return f'{{"input":{input_tokens},"output":{output_tokens}}}'


def _compact_trace(call_id: str, trace: str) -> str:
    if trace[36:52] == trace[19:35] and is_own_traceparent(call_id, trace):
        return SHORT_TRACE
    match = TRACE.fullmatch(trace)
    if match is None:
        return trace
    return SHORT_TRACE + urlsafe_b64encode(bytes.fromhex(match[1] + match[2])).decode()


def _expand_trace(call_id: str, cell: str) -> str:
    if cell == SHORT_TRACE:
        return own_traceparent(call_id)
    if not cell.startswith(SHORT_TRACE):
        return cell
    digits = urlsafe_b64decode(cell.removeprefix(SHORT_TRACE)).hex()
    return f"00-{digits[:32]}-{digits[32:]}-01"


def _compact_attempts(record: RecordRows) -> str:
    if not record.attempts:
        return ""
    own = [record.call[place] for place in _call_places]
    rows = []
    for attempt in record.attempts:
        cells = [attempt[place] for place in _cell_places]
        for place, value in zip(_own_places, own, strict=True):
            if cells[place] == value:
                cells[place] = SAME
        while cells and cells[-1] == DEFAULTS[len(cells) - 1]:
            cells.pop()
        rows.append(cells)
    return encode_json(rows).decode()


def text_references(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of the texts that rows of `calls` name."""
    return {
        reference
        for row in rows
        for name in SHARED_COLUMNS
        if (reference := _reference_in(row[name]))
    }


def _reference_in(cell: str) -> str:
    """The id of the text that a cell names; empty for a cell that says it itself."""
    name = cell.removeprefix(REFERENCE)
    return "" if name == cell or name.startswith(REFERENCE) else name


def expand_call(row: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """A row of `calls` with every cell as it was recorded, `attempts` as rows by column name.

    `texts` has those of `text_references`.
    """
    expanded = dict(row)
    expanded["asked_model"] = row["asked_model"] or row["model"]
    expanded["usage"] = row["usage"] or plain_usage(row["input_tokens"], row["output_tokens"])
    if not row["endpoint"] and row["dialect"] in {"", *USUAL_ENDPOINTS}:
        expanded["dialect"] = row["dialect"] or USUAL_DIALECT
        expanded["endpoint"] = USUAL_ENDPOINTS[expanded["dialect"]]
    expanded["trace"] = _expand_trace(row["id"], row["trace"])
    for name, empty in zip(SHARED_COLUMNS, ("{}", "[]", ""), strict=True):
        if reference := _reference_in(row[name]):
            expanded[name] = texts.get(reference, empty)
        else:
            expanded[name] = row[name].removeprefix(REFERENCE)
    attempts = msgspec.json.decode(row["attempts"]) if row["attempts"] else []
    expanded["attempts"] = [
        _expand_attempt(number, cells, expanded) for number, cells in enumerate(attempts, 1)
    ]
    return expanded


def _expand_attempt(number: int, cells: list[Any], call: Mapping[str, Any]) -> dict[str, Any]:
    whole = [*cells, *DEFAULTS[len(cells) :]]
    attempt = dict(zip(ATTEMPT_CELLS, whole, strict=True))
    for name in CALLS_OWN:
        if attempt[name] == SAME:
            attempt[name] = call[name]
    return {"call_id": call["id"], "number": number, **attempt}
