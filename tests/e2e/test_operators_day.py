"""An operator's day, from the wheel to a restore in an empty place, by commands alone, beside a gateway that serves."""

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import venv
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.gateway_process import CLEAN_ENV, WAIT_S, free_port

ROOT = Path(__file__).parents[2]
KEY = re.compile(r"gw_live_\w{49}")
SETTINGS = """
providers:
  my-vllm: {{dialect: openai_chat, base_url: "http://127.0.0.1:{port}/v1"}}
  openai: {{base_url: "http://127.0.0.1:{port}/v1"}}
models:
  - {{id: acme/chat, offers: [{{provider: my-vllm, upstream_id: my-model}}]}}
"""
MODELS = ("my-model", "other-model")
WRONG = [
    (["keys", "list", "--data-dir", "nowhere"], "There is no database"),
    (["backup", "there/is/no/folder.gz"], "There is no folder"),
    (["prices", "set", "my-vllm/my-model", "input=0.15"], "output"),
    (["prices", "set", "nosuch/x", "input=1", "output=1"], "nosuch"),
    (["prices", "set", "my-vllm/my-model", "input=cheap", "output=1"], "cheap"),
    (["accounts", "rules", "acme", "--models", "claude-sonet-4-5"], "does not exist"),
    (["accounts", "rules", "acme", "--limit", "rpm=5"], "There is no limit 'rpm'"),
    (["accounts", "show", "nobody"], "There is no account 'nobody'"),
    (["providers", "off", "opnai"], "openai"),
    (["providers", "test", "groq"], "set GROQ_API_KEY"),
    (["usage", "--by", "customer"], "customer"),
    (["usage", "--from", "yesterday"], "yesterday"),
    (["move", "--to", "postgresql://me:p@ss@db/x"], "%40"),
    (["restore", "no-such-file.gz"], "no-such-file.gz"),
    (["serve", "--port", "0"], "Another gateway (process"),
]
"""What somebody types wrong → a word of the sentence that answers."""
WRONG_SETTINGS = {
    "routing: {chain: [openai, grok]}": "there is no provider 'grok'",
    "routing: {breaker: {failures: -1}}": "routing.breaker.failures: -1",
    "providers: {openai: {base_url: api.openai.com}}": "is no base URL",
    "web: {port: 1}\nweb: {port: 2}": "is there twice",
    "secret_key: ${file:/run/secrets/none}": "/run/secrets/none cannot be read",
}


class OwnServer(BaseHTTPRequestHandler):
    """An own server with OpenAI's API: two models, one answer. `keys` are those that it was asked with."""

    keys: list[str | None] = []

    def do_GET(self):
        self.answer(
            {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}
        )

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.keys.append(self.headers.get("authorization"))
        message = {"role": "assistant", "content": "Hello."}
        usage = {"prompt_tokens": 1_000, "completion_tokens": 500, "total_tokens": 1_500}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "my-model"}
        self.answer({**reply, "choices": [choice], "usage": usage})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Operator:
    """Somebody at a shell, with the command that the wheel has installed."""

    def __init__(self, command, place):
        self.command, self.place = command, place

    def __call__(self, *words, status=0, given=None):
        done = subprocess.run(
            [self.command, *words],
            cwd=self.place,
            env=CLEAN_ENV,
            input=given,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        assert "Traceback" not in output
        return done.stdout if status == 0 else " ".join(output.split())

    def json(self, *words):
        return json.loads(self(*words, "--json"))


class Served:
    """A gateway that serves in a place, as its operator started it."""

    def __init__(self, operator):
        self.port = free_port()
        self.process = subprocess.Popen(
            [operator.command, "serve", "--port", str(self.port)],
            cwd=operator.place,
            env=CLEAN_ENV,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        for line in self.process.stderr:
            self.said += line
            if "key: made before" in self.said or "asked:" in self.said:
                break
        self.reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.reader.start()

    def request(self, method, path, key, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        connection.request(
            method,
            path,
            json.dumps(body) if body else None,
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        response = connection.getresponse()
        value = response.status, json.loads(response.read())
        connection.close()
        return value

    def ask(self, key, model="acme/chat"):
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 600,
        }
        return self.request("POST", "/v1/chat/completions", key, body)

    def stop(self):
        """Its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(WAIT_S)
        self.reader.join(WAIT_S)
        self.process.stderr.close()
        return status


@pytest.fixture
def serve():
    """Starts a gateway; what still serves at the end is stopped."""
    started: list[Served] = []

    def start(operator):
        started.append(Served(operator))
        return started[-1]

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.stop()


@pytest.fixture
def own_server():
    OwnServer.keys = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), OwnServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def command(tmp_path):
    """`gatewayz` as the wheel installs it; the packages that it asks for are those of this machine."""
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        tmp_path / "dist",
        ROOT,
    ]
    assert subprocess.run(build, capture_output=True).returncode == 0
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        wheel,
    ]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"])
    return tmp_path / "venv" / "bin" / "gatewayz"


def wait_for(is_true, answers=()):
    """What running gateways notice by themselves, within two seconds."""
    end = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < end, answers[-1:]
        time.sleep(0.2)


def wait_for_status(gateway, key, status, model="acme/chat"):
    answers = []

    def has_status():
        answers.append(gateway.ask(key, model))
        return answers[-1][0] == status

    wait_for(has_status, answers)


def test_an_operators_day(command, serve, own_server, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    port = own_server.server_address[1]
    (place / "gatewayz.yaml").write_text(SETTINGS.format(port=port))
    operator = Operator(command, place)
    assert operator("--version").startswith("gatewayz ")

    # The first start; an own server's models are listed, those of the settings and by themselves.
    gateway = serve(operator)
    key = KEY.search(gateway.said)[0]
    wait_for(lambda: "other-model" in str(gateway.request("GET", "/v1/models", key)))
    listed = gateway.request("GET", "/v1/models", key)[1]["data"]
    assert {"acme/chat", "my-vllm/other-model"} <= {model["id"] for model in listed}
    assert not any(model["id"].startswith("simulator/") for model in listed)
    assert operator("providers", "test", "my-vllm", "--model", "my-model").startswith(
        "my-vllm answered"
    )

    # A provider's key, live: it is asked with it, and shown to nobody.
    assert gateway.ask(key, "openai/gpt-4o-mini")[0] in {404, 503}
    operator("providers", "set-key", "openai", given="sk-live-0123456789\n")
    wait_for_status(gateway, key, 200, "openai/gpt-4o-mini")
    assert OwnServer.keys[-1] == "Bearer sk-live-0123456789"
    assert "sk-live-0123456789" not in operator("providers", "keys") + operator("settings")

    # A price, an account with limits and a key, and what it spends.
    operator("prices", "set", "my-vllm/my-model", "input=1", "output=2", "--sure")
    operator("accounts", "create", "Acme", "--id", "acme", "--billing", "prepaid")
    operator("accounts", "rules", "acme", "--limit", "account_rpm=100")
    operator("accounts", "rules", "acme", "--models", "acme/chat")
    operator("credits", "topup", "acme", "5")
    customer = operator("keys", "create", "--account", "acme", "--name", "app").strip()
    wait_for_status(gateway, customer, 200)
    rules = operator.json("accounts", "show", "acme")["rules"]
    assert rules == {"limits": {"account_rpm": 100}, "models": ["acme/chat"]}
    (spent,) = operator.json("usage", "--by", "account,model,day", "--account", "acme")
    assert (spent["account"], spent["model"], spent["calls"]) == ("acme", "acme/chat", 1)
    assert spent["cost_usd"] == "0.002"
    call = operator.json("calls", "tail", "--no-follow", "-n", "1", "-a", "acme")
    assert "rank, the lowest first" in operator("calls", "show", call["id"])

    # A provider switched off, live, and on again.
    operator("providers", "off", "my-vllm", "--reason", "it is hot")
    wait_for(lambda: gateway.ask(customer)[0] != 200)
    operator("providers", "on", "my-vllm")
    wait_for_status(gateway, customer, 200)

    # What is typed wrong is answered by a sentence, and the gateway goes on.
    for words, sentence in WRONG:
        assert sentence in operator(*words, status=2), words
    for text, sentence in WRONG_SETTINGS.items():
        (place / "wrong.yaml").write_text(text)
        assert sentence in operator("serve", "--config", "wrong.yaml", status=2)
    (place / "wrong.yaml").unlink()
    assert gateway.ask(customer)[0] == 200
    operator("doctor")
    operator("credits", "check")

    # A backup while it serves, and a restore in an empty place.
    operator("backup", "monday.gz")
    assert gateway.stop() == 0
    elsewhere = Operator(command, tmp_path / "elsewhere")
    elsewhere.place.mkdir()
    shutil.copy(place / "gatewayz.yaml", elsewhere.place)
    assert "bring the secret" in elsewhere("restore", str(place / "monday.gz"))
    assert "made with another secret" in elsewhere("serve", "--port", "0", status=2)
    shutil.copy(place / "data" / "secret", elsewhere.place / "data" / "secret")
    restored = serve(elsewhere)
    assert "gw_live_" not in restored.said
    assert restored.ask(customer)[0] == 200
    assert restored.ask(key, "openai/gpt-4o-mini")[0] == 200
    assert OwnServer.keys[-1] == "Bearer sk-live-0123456789"
    assert restored.stop() == 0
