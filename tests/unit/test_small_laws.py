"""Money, limits, keys, seals and thinking: small laws."""

from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.calls import new_ulid
from gatewayz.core.events import Kind
from gatewayz.core.keys import is_well_formed, key_digest, key_from_random, mask_key
from gatewayz.core.secrets import Secret
from gatewayz.dialects.openai.chat.think_tags import ThinkSplitter
from gatewayz.limits.gcra import Bucket, take
from tests.support.examples import examples


@examples(300)
@given(st.lists(st.floats(0, 5), max_size=80), st.integers(1, 600), st.integers(1, 20))
def test_admitted_is_at_most_burst_plus_rate_times_time(waits, rate, burst):
    bucket, now, let_in = Bucket("k", "r", rate, 60.0, burst), 0.0, 0
    arrivals: dict[str, float] = {}
    for wait in waits:
        now += wait
        taken = take([bucket], arrivals, now)
        if taken.refused_by is None:
            arrivals.update(taken.arrivals)
            let_in += 1
        else:
            assert take([bucket], arrivals, now + taken.retry_after_s + 1e-6).refused_by is None
    assert let_in <= burst + rate / 60.0 * now + 1e-6


def test_when_one_bucket_refuses_nothing_is_taken_from_the_others():
    wide, narrow = Bucket("a", "wide", 600, 60.0, 100), Bucket("b", "narrow", 1, 60.0, 1)
    arrivals = dict(take([wide, narrow], {}, 0.0).arrivals)
    taken = take([wide, narrow], arrivals, 0.0)
    assert taken.refused_by == narrow
    assert taken.arrivals == ()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 56))
def test_a_key_is_known_by_its_check_digits(random, place):
    key = key_from_random(random)
    assert is_well_formed(key)
    assert len(key) == 57
    changed = key[:place] + ("0" if key[place] != "0" else "1") + key[place + 1 :]
    assert not is_well_formed(changed)
    assert key[12:-4] not in mask_key(key)
    assert key_digest(key, b"a") != key_digest(key, b"b")


def test_a_secret_does_not_print_itself():
    assert "hush" not in f"{Secret('hush')} {Secret('hush')!r}"
    assert Secret("hush").reveal() == "hush"


def test_ids_sort_by_time_and_never_repeat():
    ids = [new_ulid() for _ in range(2_000)]
    assert len(set(ids)) == 2_000
    assert [ulid[:10] for ulid in ids] == sorted(ulid[:10] for ulid in ids)
    assert {len(ulid) for ulid in ids} == {26}


@examples(500)
@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<", "thi", "nk>", "a", "\n", "</"]), max_size=12
    ),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_thinking_is_told_apart_wherever_the_text_is_cut(pieces, cuts):
    text = "".join(pieces)

    def split(ends):
        splitter, parts, start = ThinkSplitter(inside=False), [], 0
        for end in [*sorted(end % (len(text) + 1) for end in ends), len(text)]:
            parts += splitter.feed(text[start:end])
            start = end
        parts += splitter.close()
        return {
            kind: "".join(part for part_kind, part in parts if part_kind is kind)
            for kind in (Kind.TEXT, Kind.REASONING)
        }

    assert split(cuts) == split([])


def test_thinking_and_answer_are_told_apart():
    splitter = ThinkSplitter(inside=False)
    pieces = splitter.feed("<thi") + splitter.feed("nk>\nhm</think>\n\nyes") + splitter.close()
    assert pieces == [(Kind.REASONING, "hm"), (Kind.TEXT, "yes")]
