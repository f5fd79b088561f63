"""What a run of the tests is: the same examples each time, whole files, and a word on what it leaves out."""

import os
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests.support.databases import database, databases, kind, location, store
from tests.support.examples import PROFILE
from tests.support.load import busy_processes

__all__ = ["database", "databases", "kind", "location", "store"]

LONGEST_FIRST = (
    "tests/e2e/test_operators_day.py",
    "tests/fault/test_kill.py",
    "tests/e2e/test_workers.py",
    "tests/control/test_document.py",
    "tests/e2e/test_what_operators_see.py",
    "tests/e2e/test_cli.py",
    "tests/money/test_nth_failure.py",
    "tests/store/test_copies.py",
    "tests/money/test_store_away.py",
    "tests/money/test_who_pays.py",
    "tests/control/test_once.py",
    "tests/control/test_tokens.py",
    "tests/e2e/test_guide_catalogue.py",
    "tests/contract/test_store_books.py",
)
"""Begun first, so that no process is left alone with one of them at the end."""
LEFT_OUT = pytest.StashKey[dict[str, str]]()

# A run of `make test` is the same everywhere; `make test-long` looks for new counterexamples.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("new", deadline=None)
settings.load_profile(PROFILE)


def pytest_configure(config: pytest.Config) -> None:
    """With `LOAD=4`, so many busy processes run beside the tests."""
    config.stash[LEFT_OUT] = {}
    load = int(os.environ.get("LOAD") or 0)
    if load and not hasattr(config, "workerinput"):
        stack = ExitStack()
        stack.enter_context(busy_processes(load))
        config.add_cleanup(stack.close)


def pytest_report_header() -> list[str]:
    load = os.environ.get("LOAD") or "0"
    return [] if load == "0" else [f"beside {load} busy processes"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files, the longest first."""
    order = {path: number for number, path in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("long")
        if mark is not None:
            reason = mark.kwargs.get("reason", "takes minutes; run it with `make test-long`")
            item.config.stash[LEFT_OUT][item.nodeid] = reason


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several tells the one that prints what it has left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    node.config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter) -> None:
    """A test that is left out is named with its reason."""
    left_out = terminalreporter.config.stash[LEFT_OUT]
    for test, reason in sorted(left_out.items()):
        terminalreporter.write_line(f"left out: {test}: {reason}")
    if left_out:
        terminalreporter.write_line(f"{len(left_out)} left out; `make test-long` runs them")
