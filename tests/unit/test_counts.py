"""Counts of several processes: the sum never goes back, whoever dies; lines of several writers stay whole."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.cli.lines import Counted, FromWorker
from gatewayz.observe.counts import Counts, Sums, added
from gatewayz.observe.exposition import exposition
from gatewayz.observe.log import pieces_of
from gatewayz.observe.metrics import BOUNDS_S

CALLS, SECONDS = "gatewayz_refused", "gen_ai_server_request_duration_seconds"
steps = st.lists(st.tuples(st.sampled_from("12"), st.integers(0, 5), st.booleans()), max_size=40)


def counts(number, running=0.0):
    fell = [0] * len(BOUNDS_S) + [number]
    return Counts(
        counters={CALLS: {("e", "f"): float(number)}},
        histograms={SECONDS: {("e", "p"): (fell, number / 2)}},
        gauges={"gatewayz_calls_running": {(): running}},
    )


def shown(sums):
    total = sums.total()
    fell, seconds = total.histograms.get(SECONDS, {}).get(("e", "p"), ([0], 0.0))
    return total.counters.get(CALLS, {}).get(("e", "f"), 0.0), sum(fell), seconds


@given(steps)
def test_a_sum_never_goes_back_and_holds_what_every_process_told(plan):
    sums, now, told, before = Sums(), {"1": 0, "2": 0}, 0, (0.0, 0, 0.0)
    for worker, more, dies in plan:
        now[worker] += more
        told += more
        sums.told(worker, counts(now[worker]))
        if dies:
            sums.ended(worker)
            now[worker] = 0
        after = shown(sums)
        assert all(new >= old for new, old in zip(after, before, strict=True))
        assert after == (told, told, told / 2)
        before = after


def test_gauges_of_a_process_end_with_it():
    sums = Sums()
    sums.told("1", counts(1, 3.0))
    sums.told("2", counts(1, 4.0))
    assert sums.total().gauges["gatewayz_calls_running"] == {(): 7.0}
    sums.ended("1")
    assert sums.total().gauges["gatewayz_calls_running"] == {(): 4.0}
    sums.ended("1")
    assert shown(sums)[0] == 2


def test_adding_changes_neither_side():
    one, other = counts(1), counts(2)
    before = msgspec.json.encode(
        [one.histograms[SECONDS][("e", "p")], other.histograms[SECONDS][("e", "p")]]
    )
    assert added(one, other).counters[CALLS] == {("e", "f"): 3.0}
    assert (
        msgspec.json.encode(
            [one.histograms[SECONDS][("e", "p")], other.histograms[SECONDS][("e", "p")]]
        )
        == before
    )


def test_counts_travel_between_processes():
    sent = msgspec.msgpack.encode(Counted(counts(7, 1.0)))
    assert msgspec.msgpack.decode(sent, type=FromWorker).counts == counts(7, 1.0)
    assert b'gatewayz_refused_total{endpoint="e",fault="f"} 7.0' in exposition(counts(7))


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=30))
def test_lines_leave_whole_and_in_order(lines):
    text = b"".join(line + b"\n" for line in lines)
    pieces = list(pieces_of(text, 40))
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= 40 for piece in pieces)
    assert all(len(one) + len(next_line(other)) > 40 for one, other in pairwise(pieces))


def next_line(piece):
    return piece[: piece.index(b"\n") + 1]
