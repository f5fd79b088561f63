"""Counts of several processes: the sum never goes back, whoever dies; lines of several writers stay whole."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.cli.serve.worker_channel import CountsReport, FromWorker
from gatewayz.observe.exposition import render_metrics
from gatewayz.observe.log import split_for_pipe
from gatewayz.observe.metrics import BUCKET_BOUNDS_S
from gatewayz.observe.metrics_snapshot import MetricsAggregator, MetricsSnapshot, merge_snapshots

CALLS, SECONDS = "gatewayz_refused", "gen_ai_server_request_duration_seconds"
steps = st.lists(st.tuples(st.sampled_from("12"), st.integers(0, 5), st.booleans()), max_size=40)


def counts(number, running=0.0):
    buckets = [0] * len(BUCKET_BOUNDS_S) + [number]
    return MetricsSnapshot(
        counters={CALLS: {("e", "f"): float(number)}},
        histograms={SECONDS: {("e", "p"): (buckets, number / 2)}},
        gauges={"gatewayz_calls_running": {(): running}},
    )


def totals(sums):
    total = sums.total()
    buckets, seconds = total.histograms.get(SECONDS, {}).get(("e", "p"), ([0], 0.0))
    return total.counters.get(CALLS, {}).get(("e", "f"), 0.0), sum(buckets), seconds


@given(steps)
def test_a_sum_never_goes_back_and_holds_what_every_process_reported(plan):
    sums, live, counted, before = MetricsAggregator(), {"1": 0, "2": 0}, 0, (0.0, 0, 0.0)
    for worker, added, dies in plan:
        live[worker] += added
        counted += added
        sums.update(worker, counts(live[worker]))
        if dies:
            sums.retire(worker)
            live[worker] = 0
        after = totals(sums)
        assert all(new >= old for new, old in zip(after, before, strict=True))
        assert after == (counted, counted, counted / 2)
        before = after


def test_gauges_of_a_process_end_with_it():
    sums = MetricsAggregator()
    sums.update("1", counts(1, 3.0))
    sums.update("2", counts(1, 4.0))
    assert sums.total().gauges["gatewayz_calls_running"] == {(): 7.0}
    sums.retire("1")
    assert sums.total().gauges["gatewayz_calls_running"] == {(): 4.0}
    sums.retire("1")
    assert totals(sums)[0] == 2


def test_adding_changes_neither_side():
    left, right = counts(1), counts(2)
    before = msgspec.json.encode(
        [left.histograms[SECONDS][("e", "p")], right.histograms[SECONDS][("e", "p")]]
    )
    assert merge_snapshots(left, right).counters[CALLS] == {("e", "f"): 3.0}
    assert (
        msgspec.json.encode(
            [left.histograms[SECONDS][("e", "p")], right.histograms[SECONDS][("e", "p")]]
        )
        == before
    )


def test_counts_travel_between_processes():
    message = msgspec.msgpack.encode(CountsReport(counts(7, 1.0)))
    assert msgspec.msgpack.decode(message, type=FromWorker).counts == counts(7, 1.0)
    assert b'gatewayz_refused_total{endpoint="e",fault="f"} 7.0' in render_metrics(counts(7))


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=30))
def test_lines_leave_whole_and_in_order(lines):
    text = b"".join(line + b"\n" for line in lines)
    pieces = list(split_for_pipe(text, 40))
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= 40 for piece in pieces)
    assert all(len(piece) + len(next_line(following)) > 40 for piece, following in pairwise(pieces))


def next_line(piece):
    return piece[: piece.index(b"\n") + 1]
