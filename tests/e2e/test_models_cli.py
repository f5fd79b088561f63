"""`gatewayz models`: what it lists, counts and reads, as a process of its own."""

import asyncio
import json
import os
import sys

import pytest

from gatewayz.catalog.sources import Listing
from gatewayz.simulator.server import Simulator
from gatewayz.store.files.listings import FileListings


async def run(folder, *words, **environment):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_API_KEY", "_TOKEN"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gatewayz",
        *words,
        cwd=folder,
        env={**clean, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


async def test_with_one_key_that_providers_models_are_listed_with_their_prices(tmp_path):
    status, out, error = await run(tmp_path, "models", "--json", OPENAI_API_KEY="sk-canary")
    assert status == 0, error
    models = {model["id"]: model for model in json.loads(out)}
    offers = models["openai/gpt-4o"]["offers"]
    (own,), others = (
        [one for one in offers if not one["why_not"]],
        [one for one in offers if one["why_not"]],
    )
    assert (own["provider"], own["price"], own["why_not"]) == ("openai", "2.5 / 10", "")
    assert all(offer["why_not"].startswith("off: ") for offer in others)
    assert len(models) > 60
    assert "sk-canary" not in out


async def test_everything_that_is_known_can_be_listed_and_counted(tmp_path):
    status, out, _ = await run(tmp_path, "models", "--all", "--find", "glm-5.3", "--json")
    assert status == 0
    assert "z-ai/glm-5.3" in {model["id"] for model in json.loads(out)}
    status, out, _ = await run(tmp_path, "models", "report", "--json", GROQ_API_KEY="k")
    counted = json.loads(out)
    assert counted["models"] > 900
    assert 0 < counted["callable_models"] < 40
    assert "off: set OPENAI_API_KEY" in counted["reasons"]
    status, out, _ = await run(tmp_path, "models", "report")
    assert "off: set OPENAI_API_KEY" in out
    assert "quarantined prices:" in out


async def test_lists_are_read_and_kept_by_command(tmp_path):
    async with Simulator() as upstream:
        upstream.script("/openrouter/v1/models", ["listing-openrouter", "hostile-half"])
        (tmp_path / "gatewayz.yaml").write_text(
            f"providers: {{openrouter: {{base_url: '{upstream.url}/openrouter/v1', key: k}}}}"
        )
        status, out, error = await run(tmp_path, "models", "sync")
        assert (status, error) == (0, "")
        assert (
            out
            == "openrouter: 3 models, 2 prices, 1 quarantined; unread in its prices: pricing.image\n"
        )
        _, out, _ = await run(tmp_path, "models", "--find", "openrouter/auto", "--json")
        assert "below zero" in json.loads(out)[0]["offers"][0]["why_not"]
        _, out, _ = await run(tmp_path, "models", "report")
        assert "openrouter/openrouter/auto: input is below zero" in out
        status, out, _ = await run(tmp_path, "models", "sync", "openrouter")
        assert status == 1
        assert out.startswith("openrouter: the list is no JSON")


async def test_the_doctor_tells_what_is_not_sold_and_which_lists_are_old_or_doubted(tmp_path):
    (tmp_path / "gatewayz.yaml").write_text(
        "models: [{id: a/b, offers: [{provider: simulator, upstream_id: echo}, {provider: groq, upstream_id: b}]}]"
    )
    kept = FileListings(tmp_path / "data")
    kept.save(
        Listing(
            provider="groq",
            read_s=1_700_000_000,
            offers=(),
            doubt_reason="the unit of this list is in doubt",
        )
    )
    kept.save(Listing(provider="openai", read_s=1_700_000_000, offers=()))
    status, out, error = await run(tmp_path, "doctor", GROQ_API_KEY="k")
    assert "models: " in out
    assert "at two providers or more" in out
    assert "served to the house only: 1 of the offers that can be called" in out
    assert "list of groq: the unit of this list is in doubt; its prices are not used" in out
    assert "list of groq: was last read" in out
    assert "list of openai" not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [(("groq",), "groq has no list, or is off"), (("nobody",), "nobody has no list")],
)
async def test_a_provider_that_cannot_be_read_is_named(tmp_path, words, says):
    status, _, error = await run(tmp_path, "models", "sync", *words)
    assert status == 2
    assert says in error


async def test_the_doctor_names_what_the_file_says_of_models_without_effect(tmp_path):
    offer = {"provider": "azure-openai", "upstream_id": "mine", "price_id": "gpt-4o"}
    wrong = {**offer, "upstream_id": "other", "price_id": "gpt-nothing"}
    settings = {
        "models": [
            {"id": "nobody/off", "enabled": False},
            {"id": "nobody/dear", "markup_bp": 500},
            {"id": "openai/gpt-4o", "markup_bp": 500},
            {"id": "acme/mine", "offers": [offer, wrong]},
        ],
        "routing": {"default_models": {"image": ["stabilityai/sd3.5", "no/such-picture"]}},
    }
    (tmp_path / "gatewayz.yaml").write_text(json.dumps(settings))
    _, out, error = await run(tmp_path, "doctor")
    notes = [line for line in (out + error).splitlines() if "settings of models" in line]
    for said in ("models.nobody/off", "models.nobody/dear", "'gpt-nothing'", "'no/such-picture'"):
        assert any(said in note for note in notes), said
    assert len(notes) == 4
