"""`python -m bench.tokens`: the estimates of `core/estimates.py` beside a real tokenizer, and the rates fitted anew.

`count` writes what o200k_base makes of every text of `bench/corpus` to `tokens.json`, and the table of
`docs/reference/tokens.md`; it needs the package bpe-openai, which brings the vocabulary with it. `fit DIRECTORY`
prints `RATES` and `EXTRA_RATES` for texts in folders named for their kind; `prose@4` weighs four times as much.
"""

import argparse
import importlib
import json
import timeit
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gatewayz.core import estimates
from gatewayz.core.token_rates import CLASSES, EXTRA_RATES, UNITS_PER_TOKEN

CORPUS = Path(__file__).parent / "corpus"
COUNTS = CORPUS / "tokens.json"
PAGE = Path(__file__).parents[1] / "docs/reference/tokens.md"
SLICE_CHARS = 6_000
"""Longer texts are fitted in slices."""
PULL = 0.03
"""How strongly the rate of a pair is pulled towards that of its class alone, where few texts have it."""
ROUNDS = 3_000


def tokenizer() -> Callable[[str], int]:
    """Text → tokens of o200k_base."""
    encode = importlib.import_module("bpe_openai").get_encoding("o200k_base").encode_ordinary
    return lambda text: len(encode(text))


def texts_by_kind(folder: Path) -> Iterator[tuple[str, Path]]:
    """Kind and file of every text below the folder."""
    for path in sorted(folder.glob("*/*.txt")):
        yield path.parent.name, path


def count() -> None:
    """Counts the corpus; writes the counts and the page."""
    count_tokens = tokenizer()
    counts = {
        f"{kind}/{path.name}": count_tokens(path.read_text())
        for kind, path in texts_by_kind(CORPUS)
    }
    COUNTS.write_text(json.dumps(counts, indent=1) + "\n")
    PAGE.write_text(page(counts))


def errors_by_kind(counts: dict[str, int]) -> dict[str, tuple[int, float]]:
    """Kind → tokens counted and tokens estimated, all its texts together."""
    totals: dict[str, tuple[int, float]] = {}
    for name, tokens in counts.items():
        kind = name.partition("/")[0]
        counted, estimated = totals.get(kind, (0, 0.0))
        text = (CORPUS / name).read_text()
        totals[kind] = (counted + tokens, estimated + estimates.text_tokens(text))
    return totals


def page(counts: dict[str, int]) -> str:
    """The page of figures."""
    lines = [
        "# Estimates of tokens",
        "",
        "Where a provider counts nothing, text is estimated by the kinds of its characters "
        "(`core/token_rates.py`). Beside it stands what o200k_base counts for the texts of "
        "`bench/corpus`, none of which the rates were fitted to; `python -m bench.tokens count` "
        "writes this page, and a test holds every kind within 10 %. Other tokenizers differ from "
        "o200k_base by more than the estimate does: an estimate is marked as one wherever it is charged. "
        "A word is a token at the least, however short it is.",
        "",
        "| kind | counted | estimated | error |",
        "|---|---|---|---|",
    ]
    for kind, (counted, estimated) in errors_by_kind(counts).items():
        lines.append(
            f"| {kind} | {counted:,} | {estimated:,.0f} | {estimated / counted - 1:+.1%} |"
        )
    text = (CORPUS / "english/prose.txt").read_text()
    seconds = min(timeit.repeat(lambda: estimates.text_tokens(text), number=500, repeat=7)) / 500
    us_per_kb = seconds * 1e6 / (len(text) / 1_000)
    lines += [
        "",
        f"{us_per_kb:.0f} µs per kilobyte on the machine that wrote this; of a text over "
        f"{estimates.SAMPLE_CHARS:,} characters so many are looked at, so no text costs more.",
        "",
    ]
    return "\n".join(lines)


def features(text: str) -> dict[int, float]:
    """How often every pair of classes, and every start of `EXTRA_RATES`, is in a text."""
    found: dict[int, float] = defaultdict(float)
    encoded = text.encode()
    for pair in estimates.class_pairs(encoded):
        found[pair] += 1
    for number, beginning in enumerate(EXTRA_RATES):
        if times := encoded.count(beginning):
            found[256 + number] = float(times)
    return found


def fit(folder: Path) -> None:
    """Prints the rates with the least relative error, kinds by their weight; none is below zero."""
    count_tokens = tokenizer()
    rows: list[tuple[str, float, dict[int, float]]] = []
    for kind, path in texts_by_kind(folder):
        text = path.read_text()
        for start in range(0, len(text), SLICE_CHARS):
            piece = text[start : start + SLICE_CHARS]
            if piece:
                rows.append((kind, count_tokens(piece), features(piece)))

    sizes: dict[str, int] = defaultdict(int)
    for kind, _, _ in rows:
        sizes[kind] += 1
    scaled: list[tuple[dict[int, float], float]] = []
    for kind, tokens, found in rows:
        weight = (float(kind.partition("@")[2] or 1) / sizes[kind]) ** 0.5
        scaled.append(({key: times * weight / tokens for key, times in found.items()}, weight))

    size = 256 + len(EXTRA_RATES)
    by_class = [(_sums_by_class(row), goal) for row, goal in scaled]
    classes = _least_squares(by_class, [0.0] * (16 + len(EXTRA_RATES)), 0.0)
    base = [classes[_class_of(key)] for key in range(size)]
    rates = [min(255, round(rate * UNITS_PER_TOKEN)) for rate in _least_squares(scaled, base, PULL)]
    for before, name in enumerate(CLASSES):
        row = ", ".join(f"{rate:3}" for rate in rates[before * 16 : before * 16 + 16])
        print(f"    ({row}),  # {name}")
    for number, beginning in enumerate(EXTRA_RATES):
        print(f"    {beginning!r}: {rates[256 + number]},")


def _class_of(key: int) -> int:
    """The class of a pair's second character, or the place of an extra rate after the classes."""
    return key % 16 if key < 256 else 16 + key - 256


def _sums_by_class(row: dict[int, float]) -> dict[int, float]:
    sums: dict[int, float] = defaultdict(float)
    for key, number in row.items():
        sums[_class_of(key)] += number
    return sums


def _least_squares(
    rows: Sequence[tuple[dict[int, float], float]], base: list[float], pull: float
) -> list[float]:
    """x ≥ 0 with the least |row·x - goal|² + pull²·|x - base|², by coordinate descent."""
    size = len(base)
    gram = [[0.0] * size for _ in range(size)]
    target = [pull * pull * number for number in base]
    for row, goal in rows:
        for i, a in row.items():
            target[i] += a * goal
            line = gram[i]
            for j, b in row.items():
                line[j] += a * b
    for i in range(size):
        gram[i][i] += pull * pull + 1e-12
    x = list(base)
    for _ in range(ROUNDS):
        for i, line in enumerate(gram):
            rest = sum(map(float.__mul__, line, x)) - line[i] * x[i]
            x[i] = max(0.0, (target[i] - rest) / line[i])
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("count", "fit"))
    parser.add_argument("folder", nargs="?", type=Path, default=CORPUS)
    arguments = parser.parse_args()
    if arguments.command == "count":
        count()
    else:
        fit(arguments.folder)


if __name__ == "__main__":
    main()
