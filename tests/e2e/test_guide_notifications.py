"""The guide to notifications: its commands run, and its receiver verifies what a gateway sends and nothing that was changed."""

import asyncio
import re
import shlex
from pathlib import Path
from typing import Any

from tests.support.commands import Commands
from tests.support.control_plane import run_control_plane
from tests.support.webhook_receiver import WebhookReceiver

GUIDE = (Path(__file__).parents[2] / "docs/guides/notifications.md").read_text()
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
(PROGRAM,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


async def test_the_guide_does_what_it_says(tmp_path, location):
    gatewayz = Commands(location, tmp_path / "data")
    async with (
        run_control_plane(
            location, tmp_path, notifications={"private_addresses": True}
        ) as control_plane,
        WebhookReceiver() as receiver,
    ):
        for line in COMMANDS.splitlines():
            program, *words = shlex.split(line)
            assert program == "gatewayz"
            assert await asyncio.to_thread(gatewayz, *words)
        admin = await control_plane.create_key("acme", "account")
        secret = (await admin.request("PUT", "/v1/account/webhook", {"url": receiver.url}))[
            "secret"
        ]
        await admin.request("POST", "/v1/account/webhook/test")
        await control_plane.send_notifications()
        program_globals: dict[str, Any] = {}
        exec(PROGRAM, program_globals)
        is_authentic = program_globals["is_authentic"]
        posted = receiver.requests[0]
        assert is_authentic(secret, posted.headers, posted.body)
        assert not is_authentic(secret, posted.headers, posted.body + b" ")
        assert not is_authentic(
            secret, {**posted.headers, "webhook-timestamp": "1700000000"}, posted.body
        )
