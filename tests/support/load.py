"""Company for a run of the tests: processes that do nothing but keep the processors busy (`make test LOAD=4`)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BUSY = """
import ctypes, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # a run that is killed leaves no load behind
while True:
    pass
"""


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many busy processes, for as long as the block runs."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
