"""The guide to accounts: its commands run in the order in which they stand, beside a running gateway."""

import asyncio
import re
import shlex
from pathlib import Path

from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.commands import Commands

GUIDE = (Path(__file__).parents[2] / "docs/guides/accounts.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)


def test_nothing_in_the_guide_is_left_out():
    assert GUIDE.count("```") == 2 * len(BLOCKS)
    assert len(BLOCKS) == 5


async def test_the_commands_of_the_guide_run(tmp_path, location):
    commands = Commands(location, tmp_path / "data")
    async with run_billing_gateway(tmp_path, location, dollars=0) as here:
        ids = {}
        for block in BLOCKS:
            for line in block.splitlines():
                if "CALL_ID" in line and "CALL_ID" not in ids:
                    # The guide's models are not those of this gateway.
                    await asyncio.to_thread(
                        commands, "accounts", "rules", "acme", "--models", "all"
                    )
                if "CALL_ID" in line and "CALL_ID" not in ids:
                    made = await asyncio.to_thread(
                        commands.json, "keys", "create", "--account", "acme"
                    )
                    assert await complete_chat(here.client(api_key=made["secret"]))
                    await here.wait_until_idle()
                    ids["CALL_ID"] = (await here.calls("acme"))[-1].id
                program, *words = shlex.split(line, comments=True)
                assert program == "gatewayz"
                assert await asyncio.to_thread(commands, *(ids.get(word, word) for word in words))
                if words[:2] == ["keys", "create"]:
                    (key,) = await asyncio.to_thread(
                        commands.json, "keys", "list", "--account", "acme"
                    )
                    ids["KEY_ID"] = key["id"]
        await here.assert_balanced()
