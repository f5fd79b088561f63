"""The seed's rules: whom to believe, what to take from whom; and the audit of what is committed."""

import subprocess
import sys

import msgspec
import pytest
from msgspec.structs import replace
from tools.seed.audit import audit
from tools.seed.claims import DISAGREEMENTS, Decision, Disagreement, believe, usd_text
from tools.seed.figures import GENAI, LITELLM, MODELS_DEV, Figures, pico_from_usd
from tools.seed.grouping import GroupedRow, hold_outliers, hold_twins
from tools.seed.house import add_house_figures

from gatewayz.catalog.seed import LaterPrice, PriceWindow, SeedRow, seed_files

SEED = seed_files()
NOW_MS = 1_795_824_000_000
"""2026-11-28."""


def row(provider, native):
    return next(one for one in SEED[provider].rows if one.id == native)


def dollars(provider, native, *buckets):
    return tuple(usd_text(bucket, row(provider, native).price[bucket]) for bucket in buckets)


def claim(source, native="codestral-latest", *, exact=True, **usd):
    price = {bucket: pico_from_usd(figure, 10**6) for bucket, figure in usd.items()}
    return Figures(id=native, source=source, exact=exact, price=price, changed="2026-05-01")


DECISION = Decision(
    provider="mistral",
    id="codestral-latest",
    source=LITELLM,
    date="2026-11-28",
    why="the page of the model",
    figures={"input": "0.3", "output": "0.9"},
)


# Whom to believe.


@pytest.mark.parametrize("exact", [LITELLM, MODELS_DEV])
def test_an_exact_id_in_any_source_beats_a_pattern(exact):
    pattern = claim(GENAI, exact=False, input="2", output="6")
    found = believe("mistral", [pattern, claim(exact, input="0.5", output="1.5")], None)
    assert found.figures.source == exact
    assert (found.held, found.disagreement) == ("", None)


def test_a_pattern_is_believed_where_nobody_names_the_id():
    pattern = claim(GENAI, exact=False, input="2", output="6")
    assert believe("mistral", [pattern], None).figures.price == pattern.price


@pytest.mark.parametrize(
    ("theirs", "held"),
    [
        ({"input": "0.3", "output": "0.9"}, False),
        ({"input": "0.32", "output": "0.9"}, False),
        ({"input": "0.3", "output": "1.2"}, True),
        ({"input": "0.03", "output": "0.9"}, True),
        ({"input": "0.3", "output": "0.9", "cache_read": "0.3"}, True),
    ],
)
def test_sources_that_differ_by_more_than_a_tenth_hold_the_row(theirs, held):
    mine = claim(GENAI, input="0.3", output="0.9", cache_read="0.03")
    found = believe("mistral", [mine, claim(LITELLM, **theirs)], None)
    assert bool(found.held) is held
    assert (found.disagreement is not None) is held
    assert not held or found.disagreement.why == ""


def test_a_decision_holds_for_the_figures_that_it_saw_and_for_no_others():
    mine = claim(GENAI, input="2", output="6")
    found = believe("mistral", [mine, claim(LITELLM, input="0.3", output="0.9")], DECISION)
    assert (found.figures.source, found.held, found.decided) == (LITELLM, "", True)
    assert found.disagreement.why == "2026-11-28: the page of the model"
    changed = believe("mistral", [mine, claim(LITELLM, input="0.4", output="0.9")], DECISION)
    assert "the decision of 2026-11-28 was about other figures" in changed.held
    assert (changed.disagreement.why, changed.decided) == ("", False)


def test_an_older_list_contradicts_no_newer_one_and_says_when_it_held():
    claims = [claim(LITELLM, input="1", output="2"), claim(MODELS_DEV, input="3", output="9")]
    found = believe("deepinfra", claims, None)
    assert (found.figures.source, found.held) == (LITELLM, "")
    assert found.disagreement.why == "models-dev tells what held on 2026-05-01"


def test_what_the_believed_source_leaves_out_comes_from_one_that_names_the_same_base():
    mine = claim(GENAI, input="0.1", output="0.3")
    agrees = claim(LITELLM, input="0.1", output="0.3", cache_read="0.01", audio_input="4")
    window = PriceWindow(hours=("00:00-12:00",), price={"input": 50_000})
    agrees = replace(agrees, tiers={">200000": {"input": 200_000}}, windows=(window,))
    found = believe("mistral", [mine, agrees], None).figures
    assert found.price == agrees.price
    assert found.filled == {"cache_read": LITELLM, "audio_input": LITELLM}
    assert (found.tiers, found.windows) == (agrees.tiers, (window,))
    differs = claim(MODELS_DEV, input="0.2", output="0.6", cache_read="0.02")
    assert believe("mistral", [mine, differs], None).figures.price == mine.price


def test_a_flat_price_of_an_image_is_believed_before_tokens_that_nobody_counts():
    claims = [claim(GENAI, input="1", output="2"), claim(LITELLM, images="40000")]
    assert believe("fal", claims, None).figures.source == LITELLM


def test_how_a_float_was_printed_is_no_part_of_a_price():
    assert pico_from_usd(3.0000000000000004e-07, 1) == 300_000
    assert pico_from_usd(0.234375, 10**6) == 234_375
    assert pico_from_usd(2.499999999e-06, 1) == 2_500_000
    assert pico_from_usd(0, 1) == 0


# What the house of a model tells of those who resell it.


def grouped(provider, model, *, native="", spare=False, **usd):
    figures = claim(LITELLM, native or model.partition("/")[2], **usd)
    return GroupedRow(provider=provider, figures=figures, model=model, spare=spare)


def with_house(reseller):
    house = grouped(
        "google-ai-studio",
        "google/gemini-x",
        input="1",
        output="4",
        audio_input="3",
        cache_read="0.1",
    )
    rows = [house, reseller]
    add_house_figures(rows, unlisted=())
    return rows[1].figures


@pytest.mark.parametrize(
    ("base", "sound"),
    [(("1", "4"), "3"), (("1.1", "4.4"), "3.3"), (("0.5", "2"), "1.5"), (("1", "5"), None)],
)
def test_who_resells_at_the_houses_price_sells_sound_at_it_too(base, sound):
    one = with_house(grouped("novita", "google/gemini-x", input=base[0], output=base[1]))
    told = one.price.get("audio_input")
    assert (told and usd_text("audio_input", told)) == sound
    assert "cache_read" not in one.price
    assert one.filled == ({"audio_input": "google-ai-studio"} if sound else {})


@pytest.mark.parametrize(("dollars", "later"), [("2", "2.2"), ("0.5", None)])
def test_who_resells_follows_the_house_where_it_becomes_dearer(dollars, later):
    house = grouped("google-ai-studio", "google/gemini-x", input="1", output="4")
    announced = {"input": pico_from_usd(dollars, 10**6), "output": 4_000_000}
    house.figures = replace(
        house.figures, later=(LaterPrice(valid_from="2027-01-01", price=announced),)
    )
    rows = [house, grouped("novita", "google/gemini-x", input="1.1", output="4.4")]
    add_house_figures(rows, unlisted=())
    told = [usd_text("input", one.price["input"]) for one in rows[1].figures.later]
    assert told == ([later] if later else [])


def test_the_house_takes_nothing_from_itself_and_a_figure_of_ones_own_stays():
    own = grouped("novita", "google/gemini-x", input="1", output="4", audio_input="2")
    assert usd_text("audio_input", with_house(own).price["audio_input"]) == "2"


@pytest.mark.parametrize("provider", ["anthropic", "vercel-ai-gateway", "deepinfra", "near"])
def test_an_hour_in_claudes_cache_costs_twice_the_input_at_everybody(provider):
    one = grouped(provider, "anthropic/claude-x", input="3.3", output="16.5")
    add_house_figures([one], unlisted=())
    told = {bucket: usd_text(bucket, pico) for bucket, pico in one.figures.price.items()}
    assert (told["cache_write"], told["cache_write_1h"]) == ("4.125", "6.6")


def test_two_ids_of_one_model_at_its_house_have_one_price():
    rows = [
        grouped("mistral", "mistralai/devstral-latest", input="0.4", output="2"),
        grouped(
            "mistral", "mistralai/devstral-latest", native="devstral", input="0.1", output="0.3"
        ),
        grouped(
            "novita", "mistralai/devstral-latest", native="devstral-fast", input="1", output="3"
        ),
    ]
    hold_twins(rows)
    assert [one.held for one in rows] == [
        "",
        "it costs other than devstral-latest, which is the same model",
        "",
    ]


def test_a_figure_that_a_person_chose_is_held_by_no_crowd():
    rows = [grouped(name, "a/b", input="10", output="20") for name in ("x", "y", "z")]
    rows += [
        grouped("mine", "a/b", input="1", output="2"),
        grouped("odd", "a/b", input="1", output="2"),
    ]
    rows[3].decided = True
    hold_outliers(rows, unlisted=())
    assert [bool(one.held) for one in rows] == [False, False, False, False, True]
    told = [grouped(name, "a/b", input="10", output="20") for name in ("x", "deployments")]
    told += [grouped("mine", "a/b", input="1", output="2")]
    hold_outliers(told, unlisted={"x", "deployments"})
    assert [one.held for one in told][2] == ""


# What is committed.


def test_nothing_in_the_seed_is_unexplained_sold_without_a_price_or_shown_wrong():
    found = audit(SEED, NOW_MS)
    assert found.faults == ()
    assert found.compared == 200
    assert all(one.why for one in found.disagreements)
    assert found.disagreements
    assert set(found.by_bucket["cache_write_1h"]) >= {GENAI, "anthropic"}
    assert sum(found.by_bucket["audio_input"].values()) > 100
    assert found.unpriced["mistral voxtral-small-latest"] == ("audio_input",)


def test_the_audit_sees_what_must_not_be():
    twin = row("groq", "openai/gpt-oss-20b")
    broken = SEED | {"groq": replace(SEED["groq"], rows=(*SEED["groq"].rows, twin))}
    assert audit(broken, NOW_MS).faults == ("groq openai/gpt-oss-20b: two rows",)


def test_the_audit_is_a_command():
    told = subprocess.run(
        [sys.executable, "-m", "tools.seed", "audit"], capture_output=True, text=True, check=True
    ).stdout
    for line in (
        "Rows by bucket and source",
        "Sources that differ by more than a tenth:",
        "Rows whose dear buckets have no price:",
        "Shown against charged: 200 models",
        "What must not be: 0",
    ):
        assert line in told


def test_every_decision_is_about_an_id_on_which_sources_differ():
    told = msgspec.json.decode(DISAGREEMENTS.read_bytes(), type=list[Disagreement])
    decided = {(one.provider, one.id) for one in told if one.why.startswith("20")}
    assert ("mistral", "mistral-large-latest") in decided
    for provider, native in decided:
        assert not row(provider, native).held.startswith("sources differ")


@pytest.mark.parametrize(
    ("provider", "native", "buckets", "figures"),
    [
        (
            "mistral",
            "mistral-medium-latest",
            ("input", "output", "cache_read"),
            ("1.5", "7.5", "0.15"),
        ),
        ("mistral", "mistral-medium", ("input", "output", "cache_read"), ("1.5", "7.5", "0.15")),
        (
            "mistral",
            "mistral-large-latest",
            ("input", "output", "cache_read"),
            ("0.5", "1.5", "0.05"),
        ),
        ("mistral", "magistral-small-latest", ("input", "output"), ("0.15", "0.6")),
        ("xai", "grok-code-fast", ("input", "output", "cache_read"), ("1", "2", "0.2")),
        ("novita", "mistralai/mistral-nemo", ("input", "output"), ("0.04", "0.17")),
        (
            "openai",
            "gpt-4o-audio-preview-2024-12-17",
            ("audio_input", "audio_output"),
            ("40", "80"),
        ),
        ("openrouter", "openai/gpt-audio-mini", ("audio_input", "audio_output"), ("10", "20")),
        ("vercel-ai-gateway", "google/gemini-2.5-flash", ("audio_input",), ("1",)),
        ("deepinfra", "google/gemini-3.1-flash-lite", ("audio_input",), ("0.5",)),
        ("openrouter", "google/gemini-2.5-flash-image", ("image_output",), ("30",)),
        ("openrouter", "google/gemini-3-pro-image", ("image_output",), ("120",)),
        (
            "openrouter",
            "anthropic/claude-sonnet-4.5",
            ("cache_write", "cache_write_1h"),
            ("3.75", "6"),
        ),
        (
            "deepinfra",
            "anthropic/claude-4-opus",
            ("cache_write", "cache_write_1h"),
            ("20.625", "33"),
        ),
        ("perplexity", "sonar", ("requests",), ("0.005",)),
        ("perplexity", "sonar-reasoning-pro", ("requests",), ("0.006",)),
        ("openrouter", "perplexity/sonar", ("requests",), ("0.005",)),
        ("openrouter", "openai/gpt-4o-search-preview", ("requests",), ("0.035",)),
        ("openrouter", "openai/gpt-4o-mini-search-preview", ("requests",), ("0.0275",)),
        ("helicone", "sonar-pro", ("requests",), ("0.006",)),
        ("vercel-ai-gateway", "openai/gpt-4o-mini-search-preview", ("requests",), ("0.025",)),
        ("deepinfra", "stabilityai/sd3.5", ("images",), ("0.06",)),
        ("fal", "fal-ai/flux/dev", ("pixels",), ("0.025",)),
        ("fal", "fal-ai/flux-lora-depth", ("pixels",), ("0.035",)),
        ("anthropic", "claude-opus-4-7", ("searches", "cache_write_1h"), ("0.01", "10")),
        ("google-vertex", "gemini-3.8-flash-cyber", ("input", "output"), ("1.5", "7.5")),
    ],
)
def test_figures_that_were_wrong_are_what_their_pages_say(provider, native, buckets, figures):
    assert dollars(provider, native, *buckets) == figures
    assert row(provider, native).held == ""


def test_what_searches_as_often_as_it_likes_is_not_sold():
    deep = [
        (provider, one)
        for provider, file in SEED.items()
        for one in file.rows
        if "deep-research" in one.id
    ]
    assert len(deep) > 4
    assert all(one.held or not one.price for _, one in deep)


def test_nobody_says_more_than_the_context_holds():
    for file in SEED.values():
        for one in file.rows:
            assert not one.context or not one.max_output or one.max_output <= one.context


def test_a_chat_model_that_may_be_given_a_tool_for_images_is_no_image_model():
    makers = {one.model for file in SEED.values() for one in file.rows if _chats_in_images(one)}
    assert "openai/gpt-5-image" in makers
    assert makers.isdisjoint({"openai/gpt-5.1", "openai/gpt-5-pro", "openai/gpt-5.1-codex-mini"})


def _chats_in_images(one: SeedRow) -> bool:
    return "image" in one.outputs and (not one.serves or "chat" in one.serves)
