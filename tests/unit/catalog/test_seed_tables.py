"""Reading the lists: every field that costs is read or named as unread, and units are ours."""

import pytest
from tools.seed import litellm_table, modelsdev_table
from tools.seed.figures import UnknownFieldError

PLAN = {"litellm": ["acme"], "prefix": ["acme/"]}


def row(**more):
    return {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1e-06} | more


def read(**more):
    (found,) = litellm_table.figures({"acme/one": row(**more)}, PLAN, "2026-11-28")
    return found


@pytest.mark.parametrize(
    ("field", "cost", "bucket", "pico"),
    [
        ("cache_creation_input_token_cost_above_1hr", 6e-06, "cache_write_1h", 6_000_000),
        ("input_cost_per_audio_token", 4e-05, "audio_input", 40_000_000),
        ("output_cost_per_image_token", 3e-05, "image_output", 30_000_000),
        ("input_cost_per_request", 0.005, "requests", 5_000_000_000),
        (
            "search_context_cost_per_query",
            {"search_context_size_low": 0.005, "search_context_size_high": 0.012},
            "searches",
            12_000_000_000,
        ),
    ],
)
def test_a_field_that_costs_fills_its_bucket(field, cost, bucket, pico):
    assert read(**{field: cost}).price[bucket] == pico


def test_tiers_of_prompts_and_of_services_are_kept_apart():
    tiers = read(
        input_cost_per_token_above_200k_tokens=2e-06,
        input_cost_per_token_priority=3e-06,
        cache_creation_input_token_cost_above_1hr_above_200k_tokens=12e-06,
    ).tiers
    assert tiers == {
        ">200000": {"input": 2_000_000, "cache_write_1h": 12_000_000},
        "priority": {"input": 3_000_000},
    }


@pytest.mark.parametrize("field", ["output_cost_per_smell", "thinking_cost_multiplier"])
def test_a_field_that_nobody_knows_stops_the_tool(field):
    with pytest.raises(UnknownFieldError, match=field):
        read(**{field: 1e-06})


@pytest.mark.parametrize(
    "field",
    [
        "input_cost_per_token_batches",
        "output_cost_per_second",
        "google_maps_grounding_cost_per_query",
    ],
)
def test_a_field_without_a_bucket_is_named_and_passed_over(field):
    assert read(**{field: 1e-06}).price == {"input": 1_000_000}


@pytest.mark.parametrize(
    ("told", "hours"),
    [
        ("16:30-00:30", ("16:30-24:00", "00:00-00:30")),
        (["00:00-01:00", "10:00-00:00"], ("00:00-01:00", "10:00-24:00")),
        ("00:00-00:00", ("00:00-24:00",)),
    ],
)
def test_hours_that_are_cheaper_become_windows_within_a_day(told, hours):
    (window,) = read(
        off_peak_pricing={"input_cost_per_token": 5e-07, "windows": [{"hours_utc": told}]}
    ).windows
    assert (window.hours, window.price) == (hours, {"input": 500_000})
    assert window.weekdays == (1, 2, 3, 4, 5, 6, 7)


def test_a_price_of_pixels_is_one_of_a_billed_megapixel():
    for dollars in (0.025, 0.035, 0.05):
        found = read(
            mode="image_generation", input_cost_per_token=0, output_cost_per_pixel=dollars / 2**20
        )
        assert found.price == {"pixels": round(dollars * 10**6)}


def test_a_price_of_the_third_list_that_nobody_knows_stops_the_tool_too():
    document = {"acme": {"models": {"one": {"id": "one", "cost": {"input": 1, "output_smell": 2}}}}}
    with pytest.raises(UnknownFieldError, match="output_smell"):
        modelsdev_table.figures(document, ["acme"])


def test_the_first_list_knows_names_from_patterns_and_prices_of_later_days():
    pytest.importorskip("genai_prices", reason="the group `seed` is not installed")
    from datetime import date

    from tools.seed.genai_table import GenaiTable

    table = GenaiTable(date(2026, 11, 28))
    assert table.figures("anthropic", "claude-sonnet-4-5").exact
    assert not table.figures("anthropic", "claude-sonnet-4-5-of-tomorrow").exact
    assert table.figures("google", "gemini-4-argon").later[0].valid_from == "2026-12-01"
    assert table.figures("google", "no-such-model") is None
