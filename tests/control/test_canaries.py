"""Canaries: secrets and what requests say are in no backup in clear, and in nothing that a command prints."""

import asyncio
import base64
import gzip
import itertools
import json
from typing import cast

import pytest
import yaml
from typer.main import get_command

from gatewayz.cli import Groups, app
from gatewayz.core.redaction import spellings
from gatewayz.core.webhooks import secret_from_text
from tests.support.commands import run_in_process
from tests.support.control_plane import run_control_plane
from tests.support.databases import url_of
from tests.support.running_gateway import model_with_offers

PROMPT = "my mother's maiden name is Wolkenstein-Trostburg of the seven castles"
HOUR_PROMPT = "Grüße an Oswald «von» Hauenstein, geboren auf Schöneck im Pustertal"
CONFIGURED = {
    "a provider's key": "sk-configured-canary-1f9a7c",
    "one of several keys": "sk-second-of-two-canary-77b2",
    "a header": "team-header-canary-90ab12cd",
    "the secret": "installation-canary-5d0c2b7e9a4f",
    "an older secret": "older-installation-canary-aa31",
    "a variable": "gsk_environment-canary-0a1b2c3d",
    "a password of an index": "index-password-canary-4e",
}
LIVE = {
    "a key set by API": "sk-set-live-canary-c0ffee-000001",
    "a key of the provider beside it": "sk-set-live-canary-beside-000002",
    "a webhook's secret": "whsec_" + base64.b64encode(b"webhook-canary-secret-of-32-byte").decode(),
}
PRINTING = {
    "doctor": (),
    "settings": (),
    "version": (),
    "models": (),
    "models report": (),
    "accounts list": (),
    "accounts show": ("acme",),
    "users list": ("-a", "acme"),
    "keys list": (),
    "keys show": ("KEY",),
    "budgets list": ("-a", "acme"),
    "webhooks show": ("acme",),
    "webhooks notifications": ("acme",),
    "credits show": ("acme",),
    "credits check": (),
    "calls show": ("CALL",),
    "usage": (),
    "providers": (),
    "providers keys": (),
    "prices show": ("first/echo",),
    "audit list": (),
    "audit verify": (),
}
"""Command → its arguments: all that print something of the installation and change nothing."""
OTHERS = {
    *("serve", "demo", "simulator", "migrate", "backup", "restore", "move", "calls tail", "worker"),
    *("models sync", "models update", "accounts create", "accounts suspend", "accounts resume"),
    *("accounts billing", "accounts markup", "accounts caching", "accounts rules"),
    *("users create", "users role", "users disable", "keys create", "keys rotate", "keys revoke"),
    *("keys reset", "keys caching", "budgets set", "budgets delete", "webhooks set"),
    *("webhooks test", "webhooks delete", "credits topup", "credits grant", "credits adjust"),
    *("credits refund", "credits refund-payment", "providers test", "providers set-key"),
    *("providers remove-key", "providers on", "providers off", "prices set", "prices accept"),
    *("prices clear", "probe"),
}
"""Commands that change something, go on, or ask a provider."""
TEXTS = (PROMPT, HOUR_PROMPT, PROMPT[11:40], HOUR_PROMPT[10:40], "Wolkenstein", "Hauenstein")


@pytest.fixture
def config(tmp_path, location):
    """Settings as an operator writes them, for the gateway and for commands."""
    own = {
        "dialect": "openai_chat",
        "base_url": "http://127.0.0.1:9/v1",
        "headers": {"X-Team": CONFIGURED["a header"]},
        "credentials": [
            {"key": CONFIGURED["a provider's key"]},
            {"key": CONFIGURED["one of several keys"]},
        ],
    }
    return {
        "secret_key": CONFIGURED["the secret"],
        "old_secret_keys": [CONFIGURED["an older secret"]],
        "providers": {"own": own},
        "catalog": {
            "sync_every_s": 0,
            "index_url": f"https://me:{CONFIGURED['a password of an index']}@index.example/simple",
        },
    }


async def fill(plane):
    """Keys and a webhook set while it serves, and calls that end well, badly and twice."""
    operator = plane.operator
    for number, beside in enumerate((False, True)):
        key = list(LIVE.values())[number]
        body = {"provider": "waiting", "key": key, "beside": beside}
        await operator.request("POST", "/admin/provider-keys", body)
    webhook = {"url": "https://example.com/hook", "low_balance": "1000"}
    secret = LIVE["a webhook's secret"]
    await operator.request(
        "PUT", "/admin/webhooks", {"account": "acme", **webhook, "secret": secret}
    )
    member = await plane.create_key("acme")
    for text in (PROMPT, HOUR_PROMPT):
        for headers in ({}, {"idempotency_key": f"once-{len(text)}"}):
            answer = await member.chat(text, headers=headers)
            assert answer.status == 200, answer.text
            assert json.loads(answer.text)["choices"][0]["message"]["content"] == text
        tools = [{"type": "function", "function": {"name": "f", "description": text}}]
        await member.chat(text, tools=tools)
        assert (await member.chat(text, model="first/fault-500")).status >= 400
        assert (await member.chat(text, temperature=text)).status == 400
    await plane.finish_calls()
    await plane.send_notifications()
    calls = (await member.get("/v1/calls?limit=100"))["data"]
    return member, [call["id"] for call in calls]


def hints(secret):
    """What must not be there of a secret: it, and it in any encoding that texts quote it in."""
    plain = {form for form in spellings(secret) if len(form) >= 10}
    if secret.startswith("whsec_"):
        raw = secret_from_text(secret)
        plain |= {raw.decode(), raw.hex(), secret.removeprefix("whsec_")}
    return plain


def printed_by(env, commands):
    for words, arguments in commands.items():
        for flags in ((), ("--json",)):
            status, text = run_in_process(*words.split(), *arguments, *flags, env=env)
            if flags and "No such option" in text:
                continue
            assert status in {0, 1}, (words, flags, text)
            yield words, text


def all_commands():
    group = cast(Groups, get_command(app))
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if command.hidden:
            continue
        inner = getattr(command, "commands", {})
        yield from (f"{name} {sub}" for sub in inner if not inner[sub].hidden)
        if not inner or command.invoke_without_command:
            yield name


def test_each_command_is_among_those_that_are_looked_at_or_says_nothing():
    assert {*all_commands()} - OTHERS == {*PRINTING}


async def test_no_secret_and_no_request_is_in_a_backup_or_printed(location, tmp_path, config):
    more = {"waiting": {"dialect": "openai_chat", "base_url": "SIM/w/v1", "auth": "bearer"}}
    models = [model_with_offers(("first", "echo"))]
    settings = {name: config[name] for name in ("secret_key", "old_secret_keys")}
    async with run_control_plane(
        location, tmp_path, models=models, more={**more, **config["providers"]}, **settings
    ) as plane:
        member, calls = await fill(plane)
        house_key = plane.gateway.key
    file, settings_file = tmp_path / "backup.gz", tmp_path / "gatewayz.yaml"
    settings_file.write_text(yaml.safe_dump(config), "utf-8")
    env = {
        "GATEWAYZ_CONFIG": str(settings_file),
        "GATEWAYZ_DATABASE__URL": url_of(location),
        "GATEWAYZ_DATA_DIR": str(tmp_path / "data"),
        "GROQ_API_KEY": CONFIGURED["a variable"],
    }
    commands = {
        words: tuple({"KEY": member.id}.get(each, each) for each in arguments)
        for words, arguments in PRINTING.items()
        if words != "calls show"
    }
    commands |= dict.fromkeys((f"calls show {id}" for id in calls), ())
    outputs = await asyncio.to_thread(lambda: list(printed_by(env, commands)))
    status, text = await asyncio.to_thread(run_in_process, "backup", str(file), env=env)
    assert status == 0, text
    outputs.append(("backup", gzip.decompress(file.read_bytes()).decode()))
    assert len(calls) >= 6
    assert all(id in outputs[-1][1] for id in calls)

    secrets = {**CONFIGURED, **LIVE, "a member's key": member.key, "the operator's key": house_key}
    wrong = [
        (words, name)
        for (words, text), (name, secret) in itertools.product(outputs, secrets.items())
        if any(form in text for form in hints(secret))
    ]
    wrong += [
        (words, piece)
        for (words, text), piece in itertools.product(outputs, TEXTS)
        if piece in text or json.dumps(piece)[1:-1] in text
    ]
    assert wrong == []
