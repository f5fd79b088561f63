"""The table of planted mistakes: each is one text of one file of today, and names tests that are there."""

from collections import Counter
from pathlib import Path

import pytest
from tools.mutants.mistakes import MISTAKES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "gatewayz"
LABELS = [f"{mistake.area}: {mistake.name}" for mistake in MISTAKES]


@pytest.mark.parametrize("mistake", MISTAKES, ids=LABELS)
def test_a_mistake_can_be_planted_once(mistake):
    assert not mistake.why_stale(PACKAGE)
    assert mistake.before != mistake.after


@pytest.mark.parametrize("mistake", MISTAKES, ids=LABELS)
def test_a_mistake_leaves_code_that_compiles(mistake):
    source = mistake.place(PACKAGE).read_text("utf-8")
    compile(source.replace(mistake.before, mistake.after), mistake.file, "exec")


@pytest.mark.parametrize("name", sorted({test for mistake in MISTAKES for test in mistake.tests}))
def test_the_tests_that_ought_to_notice_it_are_there(name):
    path, _, test = name.partition("::")
    assert (ROOT / path).is_file()
    assert not test or f"def {test.partition('[')[0]}(" in (ROOT / path).read_text("utf-8")


def test_each_mistake_has_a_name_of_its_own():
    assert [label for label, count in Counter(LABELS).items() if count > 1] == []
