"""Estimates of tokens: within 10 % of a real tokenizer's counts on each kind of text, and of bounded cost."""

import json
from itertools import pairwise

import pytest
from bench.tokens import CORPUS, COUNTS, PAGE, errors_by_kind, page, texts_by_kind
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.conversation import Image, Message, Text, ToolCall
from gatewayz.core.estimates import (
    SAMPLE_CHARS,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_SMALL_IMAGE,
    TokenCounter,
    conversation_tokens,
    least_tokens,
    text_tokens,
)
from gatewayz.core.token_rates import CLASSES, RATES

COUNTED: dict[str, int] = json.loads(COUNTS.read_text())
KINDS = errors_by_kind(COUNTED)
NOT_IN_THE_CORPUS = {
    "portuguese": (
        "O menino abriu a janela e viu que a rua estava cheia de gente. Ninguém sabia por que a "
        "música tinha parado, mas todos esperavam que a banda voltasse a tocar antes da chuva.",
        40,
    ),
    "dates": ("2026-11-28 06:14, 2026-12-01 17:45, 2027-01-15 09:30, 2027-02-28 23:59", 46),
    "shell": (
        'for file in *.log; do\n  gzip -9 "$file" && mv "$file.gz" /var/archive/ || exit 1\ndone\n',
        32,
    ),
}
"""Text and what o200k_base makes of it."""


def test_every_text_of_the_corpus_is_counted():
    assert set(COUNTED) == {f"{kind}/{path.name}" for kind, path in texts_by_kind(CORPUS)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_text_is_estimated_within_ten_percent(kind):
    counted, estimated = KINDS[kind]
    assert abs(estimated / counted - 1) <= 0.1, (counted, estimated)


@pytest.mark.parametrize("kind", NOT_IN_THE_CORPUS)
def test_so_is_what_the_corpus_has_not(kind):
    text, counted = NOT_IN_THE_CORPUS[kind]
    assert abs(text_tokens(text) / counted - 1) <= 0.15, (counted, text_tokens(text))


@pytest.mark.parametrize(
    "text",
    [
        "a b c d e f g h",
        "fox fox fox",
        "no\nyes\nno",
        "да но да",
        "x\ty\tz",
        "der Hut ist an",
        "1 2 3",
    ],
)
def test_a_word_is_a_token_at_the_least_however_short_it_is(text):
    words = len(text.split())
    assert text_tokens(text) >= words
    long = f"{text} " * 2_000
    assert text_tokens(long) >= 0.98 * 2_000 * words
    counter = TokenCounter()
    for piece in (long[start : start + 7] for start in range(0, len(long), 7)):
        counter.add(piece)
    assert counter.tokens >= 0.98 * 2_000 * words


@pytest.mark.parametrize("kind", ["english/prose", "chinese/story", "json/compact", "base64/line"])
def test_a_long_text_is_estimated_by_slices_of_it(kind):
    text = (CORPUS / f"{kind}.txt").read_text()
    times = 20 * SAMPLE_CHARS // len(text)
    assert text_tokens(text * times) == pytest.approx(text_tokens(text) * times, rel=0.1)


@pytest.mark.parametrize("records", ["table", "log", "schema"])
def test_records_of_one_length_are_not_seen_at_the_same_place_each_time(records):
    line = {
        "table": "| apple      |    12 |\n",
        "log": "GET /a 200 1234ms\n",
        "schema": '{"type": 1}, ',
    }
    text = line[records] * 10_000
    assert text_tokens(text) == pytest.approx(10_000 * text_tokens(line[records]), rel=0.1)


@pytest.mark.parametrize("text", ["a", ".", " ", "\n", "7", "ü", "a cat"])
def test_a_text_that_is_not_empty_has_a_token(text):
    counter = TokenCounter()
    for character in text:
        counter.add(character)
    assert text_tokens(text) == counter.tokens >= 1
    assert text_tokens("") == TokenCounter().tokens == 0


@given(st.text())
def test_an_estimate_is_no_less_than_nothing_and_no_more_than_eight_tokens_a_character(text):
    assert 0 <= text_tokens(text) <= 8 * len(text)


@given(st.text(alphabet="ab 1.\n語", max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_a_text_in_pieces_has_the_tokens_of_the_whole(text, cuts):
    counter = TokenCounter()
    ends = sorted({*cuts, 0, len(text)})
    for start, end in pairwise(ends):
        counter.add(text[start:end])
    assert counter.tokens == pytest.approx(text_tokens(text))


def test_a_long_text_in_pieces_is_not_kept():
    text = (CORPUS / "english/prose.txt").read_text()
    counter = TokenCounter()
    for _ in range(50):
        for word in text.split(" "):
            counter.add(f"{word} ")
    assert counter.tokens == pytest.approx(50 * text_tokens(text), rel=0.1)
    assert sum(map(len, counter._pieces)) <= SAMPLE_CHARS


def test_a_conversation_has_its_texts_its_calls_and_its_images():
    call = ToolCall(id="c", name="get_weather", arguments='{"city": "Paris"}')
    messages = (
        Message("user", (Text("Hello there"), Image(url="https://example.com", detail="low"))),
        Message("assistant", (call,)),
    )
    texts = sum(map(text_tokens, ("Hello there", call.name, call.arguments)))
    expected = 2 * TOKENS_PER_MESSAGE + TOKENS_PER_SMALL_IMAGE + texts
    assert conversation_tokens(messages, ()) == int(expected)


@pytest.mark.parametrize("name", COUNTED)
def test_the_lower_bound_is_below_what_a_tokenizer_counts(name):
    assert least_tokens((CORPUS / name).read_text()) <= COUNTED[name]


def test_the_table_has_a_rate_for_every_pair_that_fits_a_byte():
    assert len(RATES) == len(CLASSES) == 16
    assert all(len(row) == 16 and min(row) >= 0 and max(row) < 256 for row in RATES)


def test_the_page_has_the_figures_of_the_table():
    rows = [line for line in page(COUNTED).splitlines() if line.startswith("|")]
    assert rows == [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
