"""What the doctor says of the facts about a provider: how old they are, and when it says it ends."""

from collections.abc import Iterator
from datetime import date

from gatewayz.cli.doctor.findings import Finding
from gatewayz.providers.spec import Provider

FACTS_STALE_DAYS = 180
"""Facts older than this are worth a word: providers change something every few months."""


def fact_findings(provider: Provider, today: date) -> Iterator[Finding]:
    """What may not be so any more, of a provider that is on."""
    test = f"`gatewayz providers test {provider.id}`"
    if provider.ends_on:
        is_over = date.fromisoformat(provider.ends_on) < today
        when = "since" if is_over else "after"
        yield Finding(
            "note",
            provider.id,
            f"says that it does not answer in this way {when} {provider.ends_on} "
            f"({provider.ends_source}); {test} shows whether it does",
        )
    if provider.checked_on:
        age_days = (today - date.fromisoformat(provider.checked_on)).days
        if age_days > FACTS_STALE_DAYS:
            yield Finding(
                "note",
                provider.id,
                f"its facts are of {provider.checked_on}, {age_days} days ago; a newer version of "
                f"the gateway may know better, {test} shows whether they hold",
            )
