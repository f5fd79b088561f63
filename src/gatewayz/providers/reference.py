"""The reference of all providers, generated from the rows: docs/reference/providers.md."""

from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.registry import provider_rows
from gatewayz.providers.spec import ProviderRow, Quirks


def providers_reference() -> str:
    """The whole file, as Markdown."""
    rows = provider_rows()
    outside = sum(1 for row in rows.values() if not row.built_in)
    head = [
        "# Providers",
        "",
        f"{outside} providers and the simulator. A provider is on when one of its key variables is",
        "set, or when it is configured under `providers`. Facts of *unverified* rows could not be",
        "confirmed: try `gatewayz providers test NAME` first.",
        "[How to add a provider](../guides/adding-a-provider.md).",
        "",
        "| provider | key variables | base URL | dialects | notes |",
        "|---|---|---|---|---|",
    ]
    lines = [_reference_row(name, row) for name, row in rows.items()]
    quirks = [
        "",
        "## Quirks",
        "",
        "Named oddities, for `providers.NAME.quirks`; those of the rows above:",
        "",
    ]
    for quirk in Quirks.__struct_fields__:
        default = getattr(Quirks(), quirk)
        users = [name for name, row in rows.items() if getattr(row.quirks, quirk) != default]
        quirks.append(f"- `{quirk}`: {', '.join(users) or 'no row yet'}")
    return "\n".join([*head, *lines, *quirks]) + "\n"


def _reference_row(name: str, row: ProviderRow) -> str:
    notes = [
        "" if row.verified else "unverified",
        f"ends {row.ends_on}" if row.ends_on else "",
        "local: only when configured" if row.local else "",
        "built in" if row.built_in else "",
        "" if row.dialect in UPSTREAMS else "dialect not supported by this version",
    ]
    dialects = dict.fromkeys((row.dialect, *row.more_dialects, *row.dialect_by_model.values()))
    account = row.account.env if row.account is not None else ()
    variables = ", ".join(f"`{name}`" for name in dict.fromkeys((*row.key_env, *account))) or "–"
    base_url = "started with the gateway" if row.built_in else f"`{row.base_url}`"
    named = [f"`{name}`" for name in (*row.base_url_env, *row.endpoint_env)]
    base_url += f", or {', '.join(named)}" if named else ""
    cells = (name, variables, base_url, ", ".join(dialects), "; ".join(filter(None, notes)))
    return f"| {' | '.join(cells)} |"
