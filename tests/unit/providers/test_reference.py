"""The number of providers is the number of rows, and no document counts them by hand."""

import re
from pathlib import Path

from gatewayz.providers.reference import providers_reference
from gatewayz.providers.registry import provider_rows

ROOT = Path(__file__).parents[3]
WRITTEN = [
    ROOT / "README.md",
    ROOT / "docs/architecture.md",
    ROOT / "docs/glossary.md",
    *sorted((ROOT / "docs/guides").glob("*.md")),
]


def test_the_reference_counts_the_rows():
    outside = [name for name, row in provider_rows().items() if not row.built_in]
    assert f"\n{len(outside)} providers and the simulator." in providers_reference()


def test_no_document_counts_providers_by_hand():
    counted = {
        path.name: re.findall(r"\b\d+ (?:\w+ )?providers\b", path.read_text()) for path in WRITTEN
    }
    assert {name: phrases for name, phrases in counted.items() if phrases} == {}
