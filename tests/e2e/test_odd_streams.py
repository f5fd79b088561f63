"""Errors of any shape end the streams of Anthropic's and Google's wires too."""

from typing import Any

import pytest

from tests.e2e.test_odd_answers import FAILURES
from tests.support.scripted_rows import ScriptedRows, events_in
from tests.support.scripted_upstream import answer_events, run_scripted_gateway

USAGE = {"input_tokens": 9, "output_tokens": 3}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}
BEFORE: dict[str, list[Any]] = {
    "gemini": [
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Hel"}]}}]}
    ],
    "anthropic_messages": [
        {"type": "message_start", "message": MESSAGE},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    ],
}
AFTER: dict[str, list[Any]] = {
    "gemini": [],
    "anthropic_messages": [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
        {"type": "message_stop"},
    ],
}
"""Dialect → the events around a failure: what comes after would make a success of it."""


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("dialect", BEFORE)
async def test_an_error_of_any_shape_ends_the_answer_as_failed(tmp_path, dialect, failure):
    events = [*BEFORE[dialect], failure, *AFTER[dialect]]
    answer = answer_events(*events)
    async with run_scripted_gateway(tmp_path, dialect, lambda _: answer) as here:
        rows = ScriptedRows(here.gateway, here.upstream)
        told = events_in(await rows.chat("test/model", stream=True))
        assert told[-2]["choices"][0]["finish_reason"] == "error"
        assert told[-1].keys() == {"error"}
