"""`python -m tools.mutants [words]`: plants one mistake after the other, and counts those that the tests notice.

Each mistake goes into a copy of `src` of its own; the tests that ought to notice it run against the
copy. First the same tests run without any mistake: a test that fails anyway would notice nothing.
With words, only mistakes whose area or name holds all of them are planted.
"""

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from tools.mutants.mistake import Mistake
from tools.mutants.mistakes import MISTAKES

ROOT = Path(__file__).parents[2]
RUN_TESTS = (
    *(sys.executable, "-m", "pytest"),
    *("-p", "no:schemathesis", "-p", "no:xdist", "-p", "tools.mutants.quick"),
    *("--timeout", "60", "-x", "-q", "--no-header", "-rfE", "--tb=no", "-k", "not postgresql"),
)
"""SQLite is enough to see a mistake in what is decided, and starts at once; a test that hangs for a
minute has noticed."""
WORKERS = int(os.environ.get("WORKERS") or 2)
TIMEOUT_S = 240
"""For all tests of one mistake; when they take longer something hangs, which is noticed as well."""
MIN_SHARE = 0.95
PYTEST_OK, PYTEST_FAILED = 0, 1

Ending = Literal["caught", "survived", "stale", "broken"]


class Result(NamedTuple):
    """How a mistake fared. `broken`: the tests did not run at all, so they noticed nothing."""

    mistake: Mistake
    ending: Ending
    seconds: float
    word: str = ""


def run_tests(package: Path, tests: Sequence[str], folder: Path) -> tuple[int, str]:
    """The status of the tests against a copy of the package, and their last line."""
    environment = os.environ | {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_PROFILE": "same",
    }
    command = [*RUN_TESTS, f"--basetemp={folder}", *tests]
    try:
        done = subprocess.run(  # noqa: S603 - the names of tests stand in our own table
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return PYTEST_FAILED, f"nothing within {TIMEOUT_S} s"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    lines = failed or done.stdout.splitlines() or done.stderr.splitlines()
    return done.returncode, lines[-1][:160] if lines else ""


def try_mistake(mistake: Mistake, original: Path, folder: Path) -> Result:
    """Plants a mistake in a copy of the package, and runs the tests that ought to notice it."""
    began = time.monotonic()
    if why := mistake.why_stale(original):
        return Result(mistake, "stale", 0.0, why)
    source = Path(tempfile.mkdtemp(dir=folder))
    try:
        # With what was compiled of it, so that each run reads one file anew and not seven hundred.
        package = shutil.copytree(original, source / "src" / original.name)
        mistake.plant(package)
        status, word = run_tests(package, mistake.tests, source / "tests")
    finally:
        shutil.rmtree(source, ignore_errors=True)
    endings: dict[int, Ending] = {PYTEST_OK: "survived", PYTEST_FAILED: "caught"}
    return Result(mistake, endings.get(status, "broken"), time.monotonic() - began, word)


def copy_package(folder: Path) -> Path:
    """A copy of the package, compiled, so that nobody's edits come in between."""
    package = shutil.copytree(ROOT / "src" / "gatewayz", folder / "src" / "gatewayz")
    compileall.compile_dir(package, quiet=2)
    return package


def failure_without_mistakes(mistakes: Sequence[Mistake], package: Path, folder: Path) -> str:
    """The test that fails although nothing is planted; empty when all pass."""
    tests = sorted({test for mistake in mistakes for test in mistake.tests})
    # A file holds its tests: those that are named beside it would run twice.
    whole = {test for test in tests if "::" not in test}
    tests = [test for test in tests if test in whole or test.partition("::")[0] not in whole]
    halves = [tests[number::WORKERS] for number in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        folders = [folder / f"without-{number}" for number in range(WORKERS)]
        runs = pool.map(run_tests, [package] * WORKERS, filter(None, halves), folders)
        return "; ".join(word for status, word in runs if status != PYTEST_OK)


def print_results(results: Sequence[Result]) -> int:
    """Prints what was noticed by area, and what was not by name; the status of the command."""
    total, caught = Counter[str](), Counter[str]()
    for result in results:
        total[result.mistake.area] += 1
        caught[result.mistake.area] += result.ending == "caught"
    print()
    for area, count in total.items():
        print(f"{area:<14} {caught[area]:>3} of {count:>3} caught")

    share = caught.total() / total.total()
    print(f"{'all':<14} {caught.total():>3} of {total.total():>3} caught: {share:.1%}")
    unnoticed = [result for result in results if result.ending != "caught"]
    for mistake, ending, _, word in unnoticed:
        print(f"{ending}: {mistake.area}: {mistake.name} ({mistake.file}): {word}")
    is_sound = not any(result.ending in {"stale", "broken"} for result in results)
    return 0 if is_sound and share >= MIN_SHARE else 1


def main(words: Sequence[str]) -> int:
    """Plants the mistakes whose area or name holds all the words. The status of the command."""
    mistakes = [
        mistake
        for mistake in MISTAKES
        if all(word in f"{mistake.area}: {mistake.name}" for word in words)
    ]
    if not mistakes:
        print(f"No mistake has {' '.join(words)!r} in its area or name.")
        return 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        package = copy_package(folder)
        if failure := failure_without_mistakes(mistakes, package, folder):
            print(f"Without any mistake a test fails, so that it would notice nothing: {failure}")
            return 1
        results: list[Result] = []
        with ThreadPoolExecutor(WORKERS) as pool:
            for result in pool.map(lambda mistake: try_mistake(mistake, package, folder), mistakes):
                results.append(result)
                label = f"{result.mistake.area}: {result.mistake.name}"
                print(f"{result.ending:<9}{result.seconds:5.0f} s  {label}", flush=True)
        return print_results(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
