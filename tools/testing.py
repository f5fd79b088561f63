"""Runs groups of tests side by side, shows each line as it comes, and ends with what failed: `testing a,b c d`."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import deque
from typing import cast

SHOWN_LINES = 300
"""Lines of a failed group's end that are shown again, after everything else."""
MAX_LINE_BYTES = 16 * 2**20
PYTEST = (sys.executable, "-u", "-m", "pytest", "-m", "not long", "--durations", "5", "-r", "fEs")


async def ran(group: str) -> tuple[int, deque[str]]:
    """Runs a group, folders of tests with commas between; its exit status and its last lines."""
    command = (*PYTEST, *group.split(","))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=STDOUT, limit=MAX_LINE_BYTES
    )
    last: deque[str] = deque(maxlen=SHOWN_LINES)
    async for raw in cast(asyncio.StreamReader, process.stdout):
        line = raw.decode(errors="replace").rstrip()
        print(f"[{group}] {line}", flush=True)
        last.append(line)
    return await process.wait(), last


async def main(groups: list[str]) -> int:
    done = await asyncio.gather(*map(ran, groups))
    failed = [(group, last) for group, (status, last) in zip(groups, done, strict=True) if status]
    for group, last in failed:
        print(f"\n[{group}] failed:", *last, sep="\n")
    print(
        "\nfailed: " + "; ".join(group for group, _ in failed) if failed else "\nall groups passed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
