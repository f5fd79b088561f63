"""The grammar of names (docs/adr on the vocabulary): what does is a verb, what answers is a noun; one word, one meaning."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests import ROOT

SRC = ROOT / "src" / "gatewayz"
MODULES = sorted(SRC.rglob("*.py"))

NO_PARTICIPLES = {"embed", "exceed", "feed", "need", "proceed", "seed", "shed", "speed", "succeed"}
"""Words that end in -ed and are verbs or nouns."""
IRREGULAR = {
    "begun", "bought", "brought", "built", "caught", "drawn", "found", "given", "gone", "grown", "heard",
    "held", "kept", "known", "laid", "led", "left", "lost", "made", "meant", "met", "paid", "said", "seen",
    "sent", "shown", "sold", "sought", "spent", "spoken", "taken", "thought", "told", "understood", "won",
    "written",
}  # fmt: skip
MAX_PARTICIPLES = 0.01
MAX_GERUNDS = 5
COLUMNS = 100
MAX_LONG_LINES = 0.02

RETIRED = {
    "asker", "asking", "crossing", "deed", "desk", "dice", "ear", "endings", "errand", "hear", "heard",
    "hearing", "keeping", "kept", "letter", "loses", "mending", "mends", "notice", "notices", "office",
    "oracle", "pagework", "place", "plays", "probing", "pursuit", "reading", "repepper", "repeppering",
    "restock", "shelf", "slice", "slices", "speak", "speaker", "spoken", "stages", "stock", "storing", "tally",
    "teller", "told", "tongue", "tongues", "visit", "visitor", "wish", "wishes",
}  # fmt: skip
"""What things were called before the field's words took their place; see CHANGELOG."""
RETIRED_NAMES = {
    "Alone", "Cut", "Drains", "OneRequest", "Standing", "again", "alone", "checking", "left_out", "loading", "lost", "once",
    "opening", "place_of", "repeats", "spelling", "stays_home", "together", "turn_page", "turns",
}  # fmt: skip
"""Whole names: the words are still good in others."""
RETIRED_CODES = {"page_rpm", "other_request", "set_in_file"}
"""Rows of earlier versions hold them; one module knows their new names."""
OLD_CODES_MODULE = SRC / "core" / "renamed.py"


class Definition(NamedTuple):
    """A class or function of the product."""

    module: Path
    name: str
    kind: str
    is_async: bool
    is_value: bool

    def __str__(self) -> str:
        return f"{self.module.relative_to(SRC)}: {self.name}"


@cache
def definitions() -> tuple[Definition, ...]:
    found = []
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef):
                found.append(Definition(module, node.name, "class", False, False))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                is_value = any("property" in ast.unparse(one) for one in node.decorator_list)
                is_async = isinstance(node, ast.AsyncFunctionDef)
                found.append(Definition(module, node.name, "function", is_async, is_value))
    return tuple(found)


def words_of(name: str) -> list[str]:
    """The words of a name, whether they are joined by underscores or by capitals."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]


def is_participle(name: str) -> bool:
    first = name.lstrip("_").partition("_")[0]
    return first in IRREGULAR or (first.endswith("ed") and first not in NO_PARTICIPLES)


def test_no_function_is_a_participle_but_a_few_private_ones():
    functions = [one for one in definitions() if one.kind == "function" and not one.is_value]
    named = [one for one in functions if is_participle(one.name)]
    assert [str(one) for one in named if one.is_async or not one.name.startswith("_")] == []
    assert len(named) < MAX_PARTICIPLES * len(functions), [str(one) for one in named]


def test_the_rule_for_participles_is_the_one_that_is_meant():
    for name in ("settled", "_listed_calls", "found", "_kept", "told_once", "written"):
        assert is_participle(name), name
    for name in ("settle", "feed", "_need_key", "seed_files", "has_ended", "key_of", "principal"):
        assert not is_participle(name), name


def test_a_class_name_exists_once():
    classes = Counter(one.name for one in definitions() if one.kind == "class")
    twice = {name for name, count in classes.items() if count > 1}
    assert [str(one) for one in definitions() if one.kind == "class" and one.name in twice] == []


def test_at_most_five_modules_are_gerunds():
    folders = {path.parent for path in MODULES}
    gerunds = [path for path in {*MODULES, *folders} if path.stem.endswith("ing")]
    assert len(gerunds) <= MAX_GERUNDS, sorted(map(str, gerunds))


def test_few_lines_have_more_than_100_columns():
    lines = [(path, line) for path in MODULES for line in path.read_text().splitlines()]
    long = [path for path, line in lines if len(line) > COLUMNS]
    assert len(long) < MAX_LONG_LINES * len(lines), Counter(map(str, long)).most_common(10)


def test_retired_names_do_not_come_back():
    migrations = SRC / "store/sql/migrations"
    modules = [
        Definition(path, path.parent.name if path.stem == "__init__" else path.stem, "module", False, False)
        for path in MODULES
    ]  # fmt: skip
    back = [
        str(one)
        for one in (*definitions(), *modules)
        if migrations not in one.module.parents
        and (RETIRED & set(words_of(one.name)) or one.name in RETIRED_NAMES)
    ]
    assert back == []


def test_retired_codes_and_settings_are_known_in_one_place():
    pattern = re.compile(rf"\b({'|'.join(sorted(RETIRED_CODES))})\b")
    knowing = [path for path in MODULES if pattern.search(path.read_text())]
    assert [str(path) for path in knowing if path != OLD_CODES_MODULE] == []
