"""The command as people use it: real processes, an empty directory, the official SDK."""

import json
import re
import socket
import subprocess
import time

import openai
import pytest

from gatewayz.core.keys import is_well_formed
from gatewayz.providers.registry import provider_rows
from tests.support.gateway_process import (
    CLEAN_ENV,
    COMMAND,
    WAIT_S,
    GatewayProcess,
    free_port,
    run_command,
)


def test_the_first_start_shows_a_key_once_and_the_sdk_works_with_it(tmp_path):
    first = GatewayProcess(tmp_path)
    said = first.wait_for("asked: 'Is the gateway up?'")
    key = re.search(r"gw_live_\w{49}", said)[0]
    assert is_well_formed(key)
    assert f"curl http://127.0.0.1:{first.port}/v1/chat/completions" in said
    assert f'OpenAI(base_url="http://127.0.0.1:{first.port}/v1"' in said
    assert "on:  simulator" in said
    assert "set OPENAI_API_KEY" in said
    assert re.search(r"answer: 'Is the gateway up\?'\s+\(simulator, \d+ ms, \$0\)", said)
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{first.port}/v1", api_key=key, max_retries=0
    ) as client:
        reply = client.chat.completions.create(
            model="simulator/echo", messages=[{"role": "user", "content": "PROMPT-CANARY"}]
        )
        assert reply.choices[0].message.content == "PROMPT-CANARY"
        with client.chat.completions.create(
            model="simulator/long", messages=[{"role": "user", "content": "x"}], stream=True
        ) as stream:
            assert sum(1 for chunk in stream if chunk.choices[0].delta.content) == 200
    status, log = first.stop()
    assert status == 0
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["call"] * 3
    assert "CANARY" not in log
    assert key not in log
    again = GatewayProcess(tmp_path)
    assert "gw_live_" not in again.wait_for("key: made before")
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{again.port}/v1", api_key=key, max_retries=0
    ) as client:
        assert client.chat.completions.create(
            model="simulator/hello", messages=[{"role": "user", "content": "x"}]
        ).choices
        status, made, _ = run_command(tmp_path, "keys", "reset", "--yes")
        assert status == 0
        time.sleep(2.2)
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(
                model="simulator/hello", messages=[{"role": "user", "content": "x"}]
            )
        fresh = client.with_options(api_key=made.strip())
        assert fresh.chat.completions.create(
            model="simulator/hello", messages=[{"role": "user", "content": "x"}]
        ).choices
    assert again.stop()[0] == 0


def test_a_bootstrap_key_from_the_environment_is_used(tmp_path):
    _, key, _ = run_command(tmp_path, "keys", "create", "--print")
    assert not (tmp_path / "data").exists()
    served = GatewayProcess(tmp_path, env={"GATEWAYZ_BOOTSTRAP_KEY": key.strip()})
    assert "gw_live_" not in served.wait_for("asked:")
    assert served.stop()[0] == 0
    assert json.loads(run_command(tmp_path, "keys", "list", "--json")[1]) == []
    status, _, said = run_command(tmp_path, "serve", env={"GATEWAYZ_BOOTSTRAP_KEY": "weak"})
    assert status == 2
    assert "GATEWAYZ_BOOTSTRAP_KEY is not a gatewayz key" in said


def test_a_taken_port_is_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, said = run_command(tmp_path, "serve", "--port", str(taken.getsockname()[1]))
    assert status == 2
    assert "cannot be listened on" in said
    assert "Traceback" not in said


def test_the_demo_shows_a_failover(tmp_path):
    status, said, _ = run_command(tmp_path, "demo")
    assert status == 0
    assert "failed: upstream_overloaded" in said
    assert "steady  served" in said
    assert "one answer and no error" in said


def test_the_doctor_finds_what_is_planted(tmp_path):
    status, said, _ = run_command(tmp_path, "doctor")
    assert status == 0
    assert "settings: read from defaults" in said
    (tmp_path / "gatewayz.yaml").write_text("web: {prot: 1}\n")
    status, said, _ = run_command(tmp_path, "doctor")
    assert status == 1
    assert "did you mean 'port'" in said
    (tmp_path / "gatewayz.yaml").write_text(
        f"providers: {{ollama: {{base_url: 'http://127.0.0.1:{free_port()}/v1'}}}}\n"
    )
    status, said, _ = run_command(tmp_path, "doctor")
    assert status == 1
    assert "ollama: nothing answers" in said
    (tmp_path / "gatewayz.yaml").unlink()
    run_command(tmp_path, "migrate")
    run_command(tmp_path, "keys", "create")
    (tmp_path / "data" / "secret").chmod(0o644)
    status, said, _ = run_command(tmp_path, "doctor")
    assert status == 1
    assert "chmod 600" in said


def test_providers_are_listed_with_why_they_are_off(tmp_path):
    _, said, _ = run_command(tmp_path, "providers", "--json", env={"GROQ_API_KEY": "k"})
    rows = {row["provider"]: row for row in json.loads(said)}
    assert set(rows) == set(provider_rows())
    assert rows["groq"]["state"] == "on"
    assert rows["openai"]["why_off"] == "set OPENAI_API_KEY"
    assert not rows["sybil"]["verified"]
    assert rows["anthropic"]["why_off"] == "set ANTHROPIC_API_KEY"
    assert "(unverified)" in run_command(tmp_path, "providers", env={"COLUMNS": "200"})[1]


def test_every_key_of_a_provider_is_tried(tmp_path):
    (tmp_path / "gatewayz.yaml").write_text(
        "providers: {simulator: {auth: bearer, credentials: [{key: one}, {key: two}, {key: three}]}}\n"
    )
    status, said, _ = run_command(tmp_path, "providers", "test", "simulator")
    assert status == 0
    assert said.count("answered") == 3
    assert "#3 answered" in said
    status, said, _ = run_command(
        tmp_path, "providers", "test", "simulator", "--model", "fault-401"
    )
    assert status == 1
    assert said.count("failed") == 3


def test_one_real_call_to_a_provider(tmp_path):
    status, said, _ = run_command(tmp_path, "providers", "test", "simulator")
    assert status == 0
    assert "simulator answered 'Answer with one word: ready'" in said
    status, said, _ = run_command(
        tmp_path, "providers", "test", "simulator", "--model", "fault-401"
    )
    assert status == 1
    assert "upstream_auth" in said
    status, _, said = run_command(tmp_path, "providers", "test", "openai")
    assert status == 2
    assert "set OPENAI_API_KEY" in said


def test_the_simulator_runs_as_its_own_process(tmp_path):
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "simulator", "--port", str(port)],
        cwd=tmp_path,
        env=CLEAN_ENV,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert f"http://127.0.0.1:{port}/v1" in process.stdout.readline()
        (tmp_path / "gatewayz.yaml").write_text(
            f"providers: {{openai: {{base_url: 'http://127.0.0.1:{port}/openai/v1', key: sk-x}}}}\n"
        )
        status, said, _ = run_command(tmp_path, "providers", "test", "openai", "--model", "gpt-4o")
        assert status == 0, said
    finally:
        process.terminate()
        process.wait(WAIT_S)
        process.stdout.close()


def test_settings_models_and_version_are_shown(tmp_path):
    (tmp_path / "gatewayz.yaml").write_text(
        "providers: {openai: {key: sk-canary}}\nmodels: [{id: openai/gpt-4o, offers: "
        "[{provider: openai, upstream_id: gpt-4o, price: {input: '2.50', output: '10'}}]}]\n"
    )
    assert "canary" not in run_command(tmp_path, "settings")[1]
    assert "openai/gpt-4o" in run_command(tmp_path, "models", "--json")[1]
    assert run_command(tmp_path, "version")[1].startswith("gatewayz 0.")
    assert run_command(tmp_path)[0] in {0, 2}


def test_a_variable_of_somebody_else_does_not_stop_the_start_and_is_named(tmp_path):
    # As Kubernetes sets them in every pod beside a service that is called gatewayz.
    env = {"GATEWAYZ_PORT": "tcp://10.0.0.1:8080", "GATEWAYZ_SERVICE_PORT_HTTP": "8080"}
    gateway = GatewayProcess(tmp_path, env=env)
    said = gateway.wait_for("asked:")
    assert "GATEWAYZ_PORT is no setting and is passed over; did you mean GATEWAYZ_WEB__PORT" in said
    assert "GATEWAYZ_SERVICE_PORT_HTTP is no setting" in said
    assert gateway.stop()[0] == 0
    assert "GATEWAYZ_PORT is no setting" in run_command(tmp_path, "doctor", env=env)[1].replace(
        "\n", " "
    )
