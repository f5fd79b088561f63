"""How many examples a law is tried with: few in every run, and the many that it names in `make test-long`."""

import os
from typing import Any

from hypothesis import settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "same")
"""`same`: the same few examples on every run, everywhere; `new`: many, and others each time."""
FEW = 40


def examples(many: int, *, few: int = FEW, **options: Any) -> settings:
    """The settings of a law: `@examples(300)`; `many` is how many examples `make test-long` tries."""
    return settings(max_examples=many if PROFILE == "new" else min(many, few), **options)
