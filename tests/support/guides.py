"""The examples of a guide: Python that runs as it stands, and what it prints."""

import asyncio
import os
import re
import sys
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs/guides"


def examples_from_guide(guide: str) -> list[tuple[str, str]]:
    """Each Python example of the guide with the output that it promises; fails when one has no such form."""
    text = (GUIDES / guide).read_text()
    examples = re.findall(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", text, re.DOTALL)
    assert text.count("```python") == len(examples) > 0
    return examples


async def run_example(code: str, **environment: str) -> str:
    """What the example prints, run by itself."""
    pipe = asyncio.subprocess.PIPE
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={**os.environ, **environment}, stdout=pipe, stderr=pipe
    )
    out, error = await ran.communicate()
    assert ran.returncode == 0, error.decode()[-2000:]
    return out.decode()
