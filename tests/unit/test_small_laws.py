"""Money, limits, keys, seals and thinking: small laws."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayz.core.calls import new_ulid
from gatewayz.core.events import Kind
from gatewayz.core.keys import digest, key_from, masked, well_formed
from gatewayz.core.secrets import Secret
from gatewayz.dialects.openai_chat.thinking import ThinkSplitter
from gatewayz.limits.gcra import Bucket, take


@settings(max_examples=300)
@given(st.lists(st.floats(0, 5), max_size=80), st.integers(1, 600), st.integers(1, 20))
def test_admitted_is_at_most_burst_plus_rate_times_time(waits, rate, burst):
    bucket, arrivals, now, let_in = Bucket("k", "r", rate, 60.0, burst), {}, 0.0, 0
    for wait in waits:
        now += wait
        taken = take([bucket], arrivals, now)
        if taken.refused is None:
            arrivals.update(taken.arrivals)
            let_in += 1
        else:
            assert take([bucket], arrivals, now + taken.retry_after_s + 1e-6).refused is None
    assert let_in <= burst + rate / 60.0 * now + 1e-6


def test_when_one_bucket_refuses_nothing_is_taken_from_the_others():
    wide, narrow = Bucket("a", "wide", 600, 60.0, 100), Bucket("b", "narrow", 1, 60.0, 1)
    arrivals = dict(take([wide, narrow], {}, 0.0).arrivals)
    taken = take([wide, narrow], arrivals, 0.0)
    assert taken.refused == narrow
    assert taken.arrivals == ()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 56))
def test_a_key_is_known_by_its_check_digits(random, place):
    key = key_from(random)
    assert well_formed(key)
    assert len(key) == 57
    changed = key[:place] + ("0" if key[place] != "0" else "1") + key[place + 1 :]
    assert not well_formed(changed)
    assert key[12:-4] not in masked(key)
    assert digest(key, b"a") != digest(key, b"b")


def test_a_secret_does_not_print_itself():
    assert "hush" not in f"{Secret('hush')} {Secret('hush')!r}"
    assert Secret("hush").reveal() == "hush"


def test_ids_sort_by_time_and_never_repeat():
    ids = [new_ulid() for _ in range(2_000)]
    assert len(set(ids)) == 2_000
    assert [one[:10] for one in ids] == sorted(one[:10] for one in ids)
    assert {len(one) for one in ids} == {26}


@settings(max_examples=500)
@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<", "thi", "nk>", "a", "\n", "</"]), max_size=12
    ),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_thinking_is_told_apart_wherever_the_text_is_cut(pieces, cuts):
    text = "".join(pieces)

    def split(places):
        splitter, found, before = ThinkSplitter(inside=False), [], 0
        for place in [*sorted(place % (len(text) + 1) for place in places), len(text)]:
            found += splitter.feed(text[before:place])
            before = place
        found += splitter.close()
        return {
            kind: "".join(part for each, part in found if each is kind)
            for kind in (Kind.TEXT, Kind.REASONING)
        }

    assert split(cuts) == split([])


def test_thinking_and_answer_are_told_apart():
    splitter = ThinkSplitter(inside=False)
    pieces = splitter.feed("<thi") + splitter.feed("nk>\nhm</think>\n\nyes") + splitter.close()
    assert pieces == [(Kind.REASONING, "hm"), (Kind.TEXT, "yes")]
