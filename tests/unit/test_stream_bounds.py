"""An event of a stream has a bound, wherever its bytes are cut and whatever line they come in."""

import pytest

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.sse import SseParser

LIMIT_BYTES = 100
LONG = {
    "one line": [b"data: " + b"x" * 200 + b"\n\n"],
    "a line that never ends": [b"data: " + b"x" * 60] + [b"x" * 60] * 3,
    "many lines": [b"data: " + b"x" * 40 + b"\n"] * 4,
    "carriage returns": [b"data: " + b"x" * 200 + b"\r\n\r\n"],
    "a comment that never ends": [b":" + b"x" * 60] * 4,
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("first", [b"", b"data: {}\n\n"])
def test_an_event_above_the_limit_is_a_fault(name, first):
    parser = SseParser(LIMIT_BYTES)
    parser.feed(first)
    with pytest.raises(Fault) as raised:
        for chunk in LONG[name]:
            parser.feed(chunk)
    assert raised.value.kind == "upstream_broken"


@pytest.mark.parametrize("size", [1, 50, 94])
def test_events_below_the_limit_have_no_end(size):
    parser = SseParser(LIMIT_BYTES)
    for _ in range(50):
        (event,) = parser.feed(b"data: " + b"x" * (size - 1) + b"\n\n")
        assert len(event.data) == size - 1
