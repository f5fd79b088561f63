"""Facts about providers have a date, and old ones are told."""

from datetime import date, timedelta

import pytest

from gatewayz.cli.doctor.provider_facts import FACTS_STALE_DAYS, fact_findings
from gatewayz.providers.registry import provider_rows, providers_from

ROWS = provider_rows()
PROVIDERS = providers_from(ROWS, {}, {})


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.built_in])
def test_the_facts_of_every_row_have_a_date_and_are_told_when_they_are_old(name):
    provider = PROVIDERS[name]
    checked = date.fromisoformat(provider.checked_on)
    assert date(2026, 1, 1) < checked
    young = checked + timedelta(days=FACTS_STALE_DAYS)
    assert not [f for f in fact_findings(provider, young) if "its facts are of" in f.message]
    (old,) = [
        finding
        for finding in fact_findings(provider, young + timedelta(days=1))
        if "its facts are of" in finding.message
    ]
    assert (old.level, old.subject) == ("note", name)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.ends_on])
def test_a_provider_that_says_when_it_ends_is_told_before_and_after(name):
    provider = PROVIDERS[name]
    ends = date.fromisoformat(provider.ends_on)
    assert provider.ends_source
    for today, word in ((ends, "after"), (ends + timedelta(days=1), "since")):
        first = next(iter(fact_findings(provider, today)))
        assert f"{word} {provider.ends_on}" in first.message


def test_perplexity_says_that_its_sonar_endpoint_ends():
    assert ROWS["perplexity"].ends_on == "2026-09-27"
