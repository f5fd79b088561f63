"""The guide to notices: its commands run, and its receiver verifies what a gateway sends and nothing that was changed."""

import asyncio
import re
import shlex
from pathlib import Path

from tests.support.commands import Commands
from tests.support.control import place
from tests.support.receiver import Receiver

GUIDE = (Path(__file__).parents[2] / "docs/guides/notices.md").read_text()
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
(PROGRAM,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


async def test_the_guide_does_what_it_says(tmp_path, location):
    gatewayz = Commands(location, tmp_path / "data")
    async with (
        place(location, tmp_path, notices={"private_addresses": True}) as there,
        Receiver() as receiver,
    ):
        for line in COMMANDS.splitlines():
            program, *words = shlex.split(line)
            assert program == "gatewayz"
            assert await asyncio.to_thread(gatewayz, *words)
        admin = await there.key("acme", "account")
        secret = (await admin.does("PUT", "/v1/account/webhook", {"url": receiver.url}))["secret"]
        await admin.does("POST", "/v1/account/webhook/test")
        await there.here.built.notices.round()
        names = {}
        exec(PROGRAM, names)
        posted = receiver.posted[0]
        assert names["verified"](secret, posted.headers, posted.body)
        assert not names["verified"](secret, posted.headers, posted.body + b" ")
        assert not names["verified"](
            secret, {**posted.headers, "webhook-timestamp": "1700000000"}, posted.body
        )
