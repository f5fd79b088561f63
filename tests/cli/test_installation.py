"""An installation: what makes one, what only uses it, and what is refused where half of it is missing."""

import json
import re
import shutil
import subprocess

import pytest

from tests.support.commands import run_in_process
from tests.support.gateway_process import (
    CLEAN_ENV,
    COMMAND,
    WAIT_S,
    GatewayProcess,
    free_port,
    run_command,
)

COMMANDS_THAT_USE = [
    ("backup", "b.gz"),
    ("move", "--to", "sqlite:///other.db"),
    ("keys", "list"),
    ("keys", "create"),
    ("keys", "reset", "--yes"),
    ("accounts", "create", "Acme"),
    ("accounts", "list"),
    ("credits", "check"),
    ("calls", "tail", "--no-follow"),
    ("budgets", "list"),
    ("audit", "verify"),
    ("users", "list"),
    ("budgets", "set", "5", "-a", "house"),
]


@pytest.mark.parametrize("words", COMMANDS_THAT_USE, ids=" ".join)
def test_a_command_that_uses_a_database_makes_none_and_names_the_one_it_looked_for(
    words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
    status, said = run_in_process(*words)
    assert status == 2
    assert f"There is no database {tmp_path}/data/gatewayz.db" in said
    assert "--data-dir" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("keys", "list"), ("accounts", "create", "Acme"), ("backup", "b.gz")]
)
def test_a_file_without_tables_is_no_database_either(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gatewayz.db").touch()
    status, said = run_in_process(*words)
    assert status == 2
    assert "has no tables" in said or "at revision none" in said
    assert not (tmp_path / "data" / "secret").exists()


@pytest.mark.parametrize(
    "words",
    [("doctor",), ("models",), ("providers",), ("providers", "test", "simulator"), ("settings",)],
)
def test_what_shows_and_tries_leaves_nothing_behind(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
    assert run_in_process(*words)[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7", "no-such-host.invalid"])
def test_an_address_that_this_machine_does_not_have_is_not_called_taken(
    host, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
    for words in (("serve", "--port", "0"), ("doctor",)):
        status, said = run_in_process(*words, env={"GATEWAYZ_WEB__HOST": host})
        assert status != 0
        assert "no address of this machine" in " ".join(said.split())
        assert "taken" not in said and "Stop what" not in said


def test_a_trial_of_a_provider_does_not_swallow_the_first_key(tmp_path):
    assert run_command(tmp_path, "providers", "test", "simulator")[0] == 0
    gateway = GatewayProcess(tmp_path)
    assert re.search(r"gw_live_\w{49}", gateway.wait_for("asked:"))
    assert gateway.stop()[0] == 0


def test_every_command_on_the_store_says_which_it_uses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
    assert run_in_process("migrate")[0] == 0
    for words in (("keys", "list"), ("accounts", "create", "Acme"), ("credits", "check")):
        status, said = run_in_process(*words)
        assert status == 0
        assert f"database: {tmp_path}/data/gatewayz.db" in said


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A folder with a database that holds a key, the secret beside it, and nothing running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
    run_in_process("migrate")
    status, said = run_in_process("keys", "create", "--name", "ci")
    assert status == 0, said
    return tmp_path


def keys_listed(place):
    return json.loads(run_command(place, "keys", "list", "--json")[1])


@pytest.mark.parametrize("half", ["missing", "another", "another in the environment"])
def test_a_half_of_an_installation_is_refused_with_the_way_out_and_nothing_is_revoked(
    half, installation
):
    secret, env = installation / "data" / "secret", {}
    original = secret.read_text()
    if half == "another":
        secret.write_text("f" * 64 + "\n")
    else:
        secret.unlink()
    if half == "another in the environment":
        env = {"GATEWAYZ_SECRET_KEY": "e" * 40}

    for words in (("serve", "--port", "0"), ("keys", "create"), ("accounts", "create", "Acme")):
        status, said = run_in_process(*words, env=env)
        assert status == 2
        assert "made with another secret" in said
        assert "keys reset --lost-secret" in said
        assert "gw_live_" not in said
    assert run_in_process("doctor", env=env)[0] == 1

    secret.write_text(original)
    rows = keys_listed(installation)
    assert [row["state"] for row in rows] == ["active"]


def test_a_secret_that_is_lost_is_replaced_when_somebody_says_so(installation):
    (installation / "data" / "secret").unlink()
    status, said = run_in_process("keys", "reset", "--lost-secret", "--yes")
    assert (status, said.startswith("gw_live_")) == (0, True), said
    rows = keys_listed(installation)
    assert [(row["name"], row["state"]) for row in rows] == [
        ("ci", "revoked"),
        ("bootstrap", "active"),
    ]
    gateway = GatewayProcess(installation)
    gateway.wait_for("key: made before")
    assert gateway.stop()[0] == 0


def test_a_restored_database_is_not_served_without_the_secret_that_belongs_to_it(
    installation, tmp_path
):
    assert run_in_process("backup", "b.gz")[0] == 0
    place = tmp_path / "elsewhere"
    place.mkdir()
    status, said, _ = run_command(place, "restore", str(installation / "b.gz"))
    assert status == 0
    assert "Before a start bring the secret" in said
    assert f"{place}/data/secret" in said
    assert run_command(place, "serve", "--port", "0")[0] == 2
    shutil.copy(installation / "data" / "secret", place / "data" / "secret")
    gateway = GatewayProcess(place)
    gateway.wait_for("serves")
    assert gateway.stop()[0] == 0


@pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--data-dir", "other")])
def test_a_second_gateway_on_a_sqlite_file_is_refused_by_name_until_the_first_one_drains(
    more, tmp_path
):
    url = {"GATEWAYZ_DATABASE__URL": f"sqlite:///{tmp_path}/one.db"}
    first = GatewayProcess(tmp_path, env=url)
    first.wait_for("asked:")
    status, _, said = run_command(tmp_path, "serve", "--port", "0", *more, env=url)
    assert status == 2
    assert f"Another gateway (process {first.process.pid}) serves from {tmp_path}/one.db" in said
    assert run_command(tmp_path, "keys", "list", env=url)[0] == 0
    assert first.stop()[0] == 0
    if "--data-dir" in more:
        return
    second = GatewayProcess(tmp_path, *more, env=url)
    second.wait_for("key: made before")
    assert second.stop()[0] == 0


def test_of_starts_on_one_port_one_serves_and_the_others_are_told_before_anything_is_made(tmp_path):
    port = free_port()
    places = [tmp_path / name for name in ("one", "two", "three")]
    for place in places:
        place.mkdir()
    processes = [
        subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)],
            cwd=place,
            env=CLEAN_ENV,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    refused: list[subprocess.Popen] = []
    while len(refused) < 2:
        refused += [one for one in processes if one not in refused and one.poll() is not None]
    for process, place in zip(processes, places, strict=True):
        if process in refused:
            said = process.communicate(timeout=WAIT_S)[1]
            assert process.returncode == 2
            assert "cannot be listened on" in said
            assert "Traceback" not in said
            assert not (place / "data").exists()
    (serving,) = [one for one in processes if one not in refused]
    serving.terminate()
    serving.communicate(timeout=WAIT_S)
