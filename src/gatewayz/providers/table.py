"""The reference of all providers, generated from the rows."""

from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.registry import rows
from gatewayz.providers.spec import Quirks, Row


def reference() -> str:
    """docs/reference/providers.md."""
    head = [
        "# Providers",
        "",
        "A provider is on when one of its key variables is set, or when it is configured under `providers`. Facts of",
        "*unverified* rows could not be confirmed: try `gatewayz providers test NAME` first.",
        "",
        "| provider | key variables | base URL | dialects | notes |",
        "|---|---|---|---|---|",
    ]
    lines = [_row(name, row) for name, row in rows().items()]
    quirks = [
        "",
        "## Quirks",
        "",
        "Named oddities, for `providers.NAME.quirks`; those of the rows above:",
        "",
    ]
    for name in Quirks.__struct_fields__:
        users = [
            row
            for row, said in rows().items()
            if getattr(said.quirks, name) != getattr(Quirks(), name)
        ]
        quirks.append(f"- `{name}`: {', '.join(users) or 'no row yet'}")
    return "\n".join([*head, *lines, *quirks]) + "\n"


def _row(name: str, row: Row) -> str:
    notes = [
        "" if row.verified else "unverified",
        "local: only when configured" if row.local else "",
        "built in" if row.built_in else "",
        "" if row.dialect in UPSTREAMS else "dialect not spoken by this version",
    ]
    spoken = dict.fromkeys((row.dialect, *row.more_dialects, *row.dialect_by_model.values()))
    variables = ", ".join(f"`{variable}`" for variable in row.key_env) or "–"
    base_url = "started with the gateway" if row.built_in else f"`{row.base_url}`"
    return f"| {name} | {variables} | {base_url} | {', '.join(spoken)} | {'; '.join(filter(None, notes))} |"
