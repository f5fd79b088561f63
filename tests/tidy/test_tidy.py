"""What a machine can hold: sizes, words, floors between documents and code, nothing that does not belong."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from gatewayz.core.faults import FAULTS
from gatewayz.dialects.registry import CLIENTS
from gatewayz.observe.metrics import FAMILIES
from gatewayz.providers.registry import rows
from gatewayz.providers.spec import Quirks
from gatewayz.settings_reference import fields

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TRACKED = subprocess.run(
    ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split("\n")
DOCS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
BANNED_MODULES = {"utils", "helpers", "common", "services", "managers", "misc", "util", "helper"}
BANNED_WORDS = re.compile(r"\b(\w*(Manager|Helper|Util|Service)|vendor\w*|backend\w*)\b")
MACHINE_PATHS = re.compile(r"(^|[^\w/.])/(?:t[m]p|w[o]rk|r[o]ot|h[o]me)/\w")
REGISTRY_HOSTS = re.compile(r"p[y]pi\.org|pythonhost[e]d|registry\.np[m]js|crates\.i[o]")


def name(path):
    return str(path.relative_to(ROOT))


def tree(path):
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name)
def test_a_file_has_at_most_400_lines(path):
    assert path.read_text().count("\n") <= 400


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_function_has_at_most_60_lines(path):
    long = [
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_opens_with_a_sentence_and_is_named_after_its_subject(path):
    doc = ast.get_docstring(tree(path)) or ""
    assert re.match(r"^[A-Z`].{12,}[.:](\s|$)", doc, re.DOTALL), doc
    assert path.stem not in BANNED_MODULES
    assert path.parent.name not in BANNED_MODULES


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_names_are_the_glossarys(path):
    names = {
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert [one for one in names if BANNED_WORDS.fullmatch(one)] == []


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_provider_is_treated_by_name(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Compare) and re.search(r"provider(\.id)?$", ast.unparse(node.left)):
            for other in node.comparators:
                assert not (
                    isinstance(other, ast.Constant) and isinstance(other.value, str) and other.value
                ), ast.unparse(node)


def test_the_catch_alls_are_around_calls_and_workers():
    found = [
        name(path)
        for path in SOURCES
        for line in path.read_text().splitlines()
        if re.search(r"except (Exception|BaseException)\b", line) and "BLE001" in line
    ]
    assert sorted(found) == [
        "src/gatewayz/observe/bus.py",
        "src/gatewayz/store/sql/commits.py",
        "src/gatewayz/store/sql/sqlite_ledger.py",
        "src/gatewayz/web/inference.py",
    ]


def test_money_knows_no_float():
    for path in ("src/gatewayz/core/money.py", "src/gatewayz/core/usage.py"):
        assert not [
            node
            for node in ast.walk(tree(ROOT / path))
            if isinstance(node, ast.Name) and node.id == "float"
        ]


@pytest.mark.parametrize("quirk", Quirks.__struct_fields__)
def test_a_quirk_is_used_by_a_row_and_pinned_by_a_test(quirk):
    pinned = any(
        re.search(rf"\b{quirk}\b", path.read_text()) for path in TESTS if "tidy" not in path.parts
    )
    used = any(getattr(row.quirks, quirk) != getattr(Quirks(), quirk) for row in rows().values())
    assert pinned
    assert used


@pytest.mark.parametrize("path", CLIENTS)
def test_every_kind_of_fault_has_words_in_every_dialect(path):
    assert set(CLIENTS[path].ERRORS) == set(FAULTS)


def test_every_setting_and_metric_is_documented():
    settings, metrics = (
        (ROOT / "docs/reference" / file).read_text() for file in ("settings.md", "metrics.md")
    )
    assert [path for path, _, _ in fields() if f"`{path}`" not in settings] == []
    assert [family for family in FAMILIES if f"`{family}" not in metrics] == []


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", sorted((ROOT / "docs/adr").glob("*.md")), ids=name)
def test_a_decision_has_its_parts(path):
    text = path.read_text()
    assert re.search(r"^Status: ", text, re.MULTILINE)
    for part in ("## Context", "## Decision", "## Consequences"):
        assert part in text


@pytest.mark.parametrize(
    "file", [file for file in TRACKED if file and not file.endswith((".png", ".json"))]
)
def test_a_file_speaks_of_the_product_only(file):
    text = (ROOT / file).read_text(errors="replace") if (ROOT / file).is_file() else ""
    assert not REGISTRY_HOSTS.search(text)
    if not file.startswith("tests/"):
        assert [line for line in text.splitlines() if MACHINE_PATHS.search(line)] == []


def test_lock_files_hold_no_addresses():
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text
        assert "--index" not in text
        assert text.count("--hash=sha256:") >= text.count("==") > 0


def test_tests_patch_nothing_of_ours():
    for path in TESTS:
        text = path.read_text()
        assert "unittest" + ".mock" not in text
        assert "monkeypatch.setattr" + "(" not in text


def test_the_glossary_is_the_documents():
    text = (ROOT / "docs/glossary.md").read_text().lower()
    for word in (
        "provider",
        "upstream",
        "dialect",
        "offer",
        "candidate",
        "plan",
        "call",
        "attempt",
        "commit point",
        "block",
        "usage",
        "price",
        "hold",
        "settle",
        "principal",
        "breaker",
        "fault",
        "fact",
        "seal",
        "quirk",
    ):
        assert f"**{word}**" in text, word


def test_every_dialect_is_held_not_to_know_the_others():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    [modules] = [one["modules"] for one in contracts if one["type"] == "independence"]
    folders = {path.parent.name for path in (ROOT / "src/gatewayz/dialects").glob("*/__init__.py")}
    assert {module.rpartition(".")[2] for module in modules} == folders


def test_every_folder_of_tests_is_run():
    groups = re.search(r"^TEST_GROUPS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    folders = {
        path.parent.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent.parent == ROOT / "tests"
    }
    assert folders - {"tidy", "clients"} == {
        path.removeprefix("tests/") for path in re.split(r"[ ,]", groups[1])
    }
