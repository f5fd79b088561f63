"""What a machine can hold: sizes, words, floors between documents and code, nothing that does not belong."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from gatewayz.core.faults import FAULTS
from gatewayz.dialects.registry import CLIENTS
from gatewayz.observe.metrics import FAMILIES
from gatewayz.providers.registry import provider_rows
from gatewayz.providers.spec import Quirks
from gatewayz.settings_reference import iter_settings
from tests import ROOT
from tests.conftest import LONGEST_FIRST

SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TRACKED = subprocess.run(
    ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split("\n")
DOCS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])

MAX_LINES = 400
MAX_TEST_LINES = 550
MAX_FUNCTION_LINES = 60
BANNED_MODULES = {"utils", "helpers", "common", "services", "managers", "misc", "util", "helper"}
BANNED_WORDS = re.compile(r"\b(\w*(Manager|Helper|Util|Service)|vendor\w*|backend\w*)\b")
MACHINE_PATHS = re.compile(r"(^|[^\w/.])/(?:t[m]p|w[o]rk|r[o]ot|h[o]me)/\w")
REGISTRY_HOSTS = re.compile(r"p[y]pi\.org|pythonhost[e]d|registry\.np[m]js|crates\.i[o]")
MODULE_SENTENCE = re.compile(r"^[A-Z`].{12,}[.:](\s|$)", re.DOTALL)
CATCH_ALL = re.compile(r"except (Exception|BaseException)\b")
GLOSSARY = (
    "provider", "upstream", "dialect", "offer", "candidate", "plan", "call", "attempt", "commit point", "block",
    "usage", "price", "hold", "settle", "principal", "breaker", "fault", "fact", "seal", "quirk",
)  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text_of(path: Path) -> str:
    return path.read_text(errors="replace")


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text_of(path))))


def test_a_file_has_at_most_400_lines_and_one_of_tests_550():
    lines = {
        path: (text_of(path).count("\n"), MAX_TEST_LINES if path in TESTS else MAX_LINES)
        for path in SOURCES + TESTS
    }
    assert [f"{name(path)}: {count}" for path, (count, most) in lines.items() if count > most] == []


def test_a_function_has_at_most_60_lines():
    long = [
        f"{name(path)}: {node.name}"
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []


def test_a_module_opens_with_a_sentence_and_is_named_after_its_subject():
    docs = {path: ast.get_docstring(ast.parse(text_of(path))) or "" for path in SOURCES}
    assert [name(path) for path, doc in docs.items() if not MODULE_SENTENCE.match(doc)] == []
    named = [path for path in SOURCES if {path.stem, path.parent.name} & BANNED_MODULES]
    assert named == []


def test_names_are_the_glossarys():
    named = [
        f"{name(path)}: {node.name}"
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and BANNED_WORDS.fullmatch(node.name)
    ]
    assert named == []


def test_no_provider_is_treated_by_name():
    treated = [
        f"{name(path)}: {ast.unparse(node)}"
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.Compare)
        and re.search(r"provider(\.id)?$", ast.unparse(node.left))
        and any(
            isinstance(other, ast.Constant) and isinstance(other.value, str) and other.value
            for other in node.comparators
        )
    ]
    assert treated == []


def test_the_catch_alls_are_around_calls_and_workers():
    places = [
        name(path)
        for path in SOURCES
        for line in text_of(path).splitlines()
        if CATCH_ALL.search(line) and "BLE001" in line
    ]
    assert sorted(places) == [
        "src/gatewayz/cli/serve/supervisor.py",
        "src/gatewayz/cli/serve/supervisor_link.py",
        "src/gatewayz/control/auth/key_cache.py",
        "src/gatewayz/engine/background.py",
        "src/gatewayz/observe/bus.py",
        "src/gatewayz/store/sql/ledger/group_commit.py",
        "src/gatewayz/store/sql/ledger/sqlite.py",
        "src/gatewayz/web/inference.py",
    ]


def test_money_knows_no_float():
    for path in ("src/gatewayz/core/money.py", "src/gatewayz/core/usage.py"):
        nodes = nodes_of(ROOT / path)
        assert not [node for node in nodes if isinstance(node, ast.Name) and node.id == "float"]


@pytest.mark.parametrize("quirk", Quirks.__struct_fields__)
def test_a_quirk_is_used_by_a_row_and_pinned_by_a_test(quirk):
    word = re.compile(rf"\b{quirk}\b")
    assert any(word.search(text_of(path)) for path in TESTS if "tidy" not in path.parts)
    unused = getattr(Quirks(), quirk)
    assert any(getattr(row.quirks, quirk) != unused for row in provider_rows().values())


def test_every_kind_of_fault_has_words_in_every_dialect():
    for path, client in CLIENTS.items():
        assert set(client.ERRORS) == set(FAULTS), path


def test_every_setting_and_metric_is_documented():
    reference = ROOT / "docs/reference"
    settings, metrics = text_of(reference / "settings.md"), text_of(reference / "metrics.md")
    assert [path for path, _, _ in iter_settings() if f"`{path}`" not in settings] == []
    assert [family for family in FAMILIES if f"`{family}" not in metrics] == []


def test_links_lead_somewhere():
    links = [
        (path, link)
        for path in DOCS
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text_of(path))
    ]
    assert [
        f"{name(path)}: {link}" for path, link in links if not (path.parent / link).exists()
    ] == []


def test_a_decision_has_its_parts():
    parts = ("\nStatus: ", "## Context", "## Decision", "## Consequences")
    decisions = sorted((ROOT / "docs/adr").glob("*.md"))
    assert decisions
    for path in decisions:
        assert [part for part in parts if part not in text_of(path)] == [], name(path)


def test_a_file_speaks_of_the_product_only():
    files = [file for file in TRACKED if file and not file.endswith((".png", ".json"))]
    texts = {file: text_of(ROOT / file) for file in files if (ROOT / file).is_file()}
    assert [file for file, text in texts.items() if REGISTRY_HOSTS.search(text)] == []
    lines = [
        f"{file}: {line}"
        for file, text in texts.items()
        if not file.startswith("tests/")
        for line in text.splitlines()
        if MACHINE_PATHS.search(line)
    ]
    assert lines == []


def test_lock_files_hold_no_addresses():
    for path in (ROOT / "requirements").glob("*.txt"):
        text = text_of(path)
        assert "://" not in text
        assert "--index" not in text
        assert text.count("--hash=sha256:") >= text.count("==") > 0


def test_tests_patch_nothing_of_ours():
    for path in TESTS:
        assert "unittest" + ".mock" not in text_of(path), name(path)
        assert "monkeypatch.setattr" + "(" not in text_of(path), name(path)


def test_the_glossary_is_the_documents():
    text = text_of(ROOT / "docs/glossary.md").lower()
    assert [word for word in GLOSSARY if f"**{word}**" not in text] == []


def test_every_dialect_is_held_not_to_know_the_others():
    settings = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]
    name = "Dialects do not know each other"
    [modules] = [one["modules"] for one in settings["contracts"] if one["name"] == name]
    dialects = (ROOT / "src/gatewayz/dialects").glob("*/__init__.py")
    # What dialects share is no dialect.
    folders = {path.parent.name for path in dialects} - {"kit"}
    assert {module.rpartition(".")[2] for module in modules} == folders


def test_the_files_that_begin_first_are_there():
    assert [path for path in LONGEST_FIRST if not (ROOT / path).exists()] == []
