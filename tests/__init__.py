"""The proof of the product. What every process that a run starts lives in is said here, before anything is imported."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Hundreds of tests start processes: modules are compiled once, wherever the environment forbids files beside them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".venv" / "pycache"))
sys.dont_write_bytecode, sys.pycache_prefix = False, os.environ["PYTHONPYCACHEPREFIX"]

# Every client and every gateway reads the authorities that it trusts: one here, where a system has a hundred.
os.environ["SSL_CERT_FILE"] = str(ROOT / "tests" / "support" / "authority.pem")

# Stores lie in memory where there is room: a test asks what the product wrote, not how soon a disk has it.
MEMORY_FOLDER = Path("/dev/shm")
MEMORY_BYTES = 4 * 2**30
if os.access(MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(MEMORY_FOLDER).free > MEMORY_BYTES:
    os.environ.setdefault("TMPDIR", str(MEMORY_FOLDER))
    tempfile.tempdir = os.environ["TMPDIR"]
