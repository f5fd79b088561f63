"""Claude Code, as people run it, through the gateway: a scripted tool call over every shape of upstream.

It is pointed at the gateway by its own variables, is offered one tool, and really reads the file.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.support.running_gateway import model_with_offers, run_gateway

CLAUDE = next(
    (Path(__file__).parents[2] / ".venv/clients/node_modules/@anthropic-ai").glob(
        "claude-code-*/claude"
    ),
    None,
)
QUIET = (
    "DISABLE_TELEMETRY",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
)
RUN_S = 300
SAYS = "It is the capital of France."


async def ran(here, folder, *more):
    """What Claude Code says at its end, as its JSON."""
    (folder / "work").mkdir()
    (folder / "work" / "Paris").write_text(SAYS)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ANTHROPIC_BASE_URL": here.url,
        "ANTHROPIC_AUTH_TOKEN": here.key,
        "ANTHROPIC_MODEL": "test/model",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "test/model",
        **dict.fromkeys(QUIET, "1"),
    }
    asked = (
        "-p",
        "Read the file Paris",
        "--tools",
        "Read",
        "--allowedTools",
        "Read",
        "--output-format",
        "json",
        "--max-turns",
        "5",
        *more,
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        str(CLAUDE),
        *asked,
        cwd=folder / "work",
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )
    said, complaints = await asyncio.wait_for(process.communicate(), RUN_S)
    assert said, complaints.decode()
    return json.loads(said)


@pytest.mark.timeout(RUN_S + 30)
@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini"])
async def test_claude_code_calls_a_tool_over_every_shape_of_upstream(dialect, tmp_path):
    assert CLAUDE is not None, "run `make test-clients`, which installs it"
    async with run_gateway(
        tmp_path, dialect=dialect, models=[model_with_offers(("first", "tools-last"))]
    ) as here:
        found = await ran(here, tmp_path)
        await here.wait_until_idle()
    assert not found["is_error"]
    assert found["num_turns"] == 2
    assert found["result"].startswith("The tool said:")
    assert SAYS in found["result"]
    assert {record.endpoint for record in here.built.books.records} == {"/v1/messages"}
    assert all(record.outcome.cost > 0 for record in here.built.books.records)


@pytest.mark.timeout(RUN_S + 30)
async def test_claude_code_notifications_no_failover(tmp_path):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", "fault-503"), ("second", "tools-last"))]
    ) as here:
        found = await ran(here, tmp_path)
    assert SAYS in found["result"]
    assert here.last.served == "second"
