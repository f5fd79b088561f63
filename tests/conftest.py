"""The same examples on every run, and what a run says about tests that it leaves out."""

import os

from hypothesis import settings

from tests.support.databases import database, databases, kind, location, store

__all__ = ["database", "databases", "kind", "location", "store"]

# A run of `make test` is the same everywhere; `make test-long` looks for new counterexamples.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("new", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_deselected(items):
    """A test that is left out is named with its reason."""
    for item in items:
        mark = item.get_closest_marker("long")
        if mark is not None:
            reason = mark.kwargs.get("reason", "takes minutes; run it with `make test-long`")
            item.config.get_terminal_writer().line(f"left out: {item.nodeid}: {reason}")
