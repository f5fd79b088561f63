"""A planted mistake: one text of one source file in the place of another."""

from pathlib import Path
from typing import NamedTuple

MAX_TIMES_FOUND = 1
"""A text that stands in its file more often does not say which place is meant."""


class Mistake(NamedTuple):
    """A mistake that the tests ought to notice. `file` lies in `src/gatewayz`.

    `tests` are files of tests, or names of tests in them (`file::test`).

    Example: `Mistake("a cost above the hold is forgotten", "ledger", "ledger/batch.py",
    "if overrun > 0:", "if False:", ("tests/property/test_ledger_laws.py",))`
    """

    name: str
    area: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def place(self, package: Path) -> Path:
        """The file in a copy of the package."""
        return package / self.file

    def why_stale(self, package: Path) -> str:
        """Why the mistake cannot be planted in these sources; empty when it can."""
        path = self.place(package)
        if not path.is_file():
            return f"{self.file} is not there"
        times = path.read_text("utf-8").count(self.before)
        if not times:
            return (
                f"its text is no longer in {self.file}; write down the text that stands there now"
            )
        if times > MAX_TIMES_FOUND:
            return f"its text stands {times} times in {self.file}; take more of what is around it"
        return ""

    def plant(self, package: Path) -> None:
        """Writes the mistake into a copy of the package, and forgets what was compiled of it."""
        path = self.place(package)
        path.write_text(path.read_text("utf-8").replace(self.before, self.after), "utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
