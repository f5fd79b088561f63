"""What an operator sees of a gateway that serves: readiness, and a log that says what clients saw."""

import http.client
import json
import os
import pty
import re
import resource
import signal
import subprocess
import threading
import time

import pytest

from tests.support.gateway_process import CLEAN_ENV, COMMAND, WAIT_S, GatewayProcess, free_port

CHAT = {"model": "simulator/echo", "messages": [{"role": "user", "content": "Hello"}]}


class Answer:
    """A whole answer: its status, headers and text."""

    def __init__(self, gateway, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=WAIT_S)
        connection.request(
            method, path, json.dumps(body) if body is not None else None, headers or {}
        )
        response = connection.getresponse()
        self.status, self.headers = response.status, dict(response.getheaders())
        self.text = response.read().decode()
        connection.close()

    @property
    def message(self):
        return json.loads(self.text)["error"]["message"]


@pytest.fixture
def gateway(tmp_path):
    process = GatewayProcess(tmp_path)
    process.key = re.search(r"gw_live_\w{49}", process.wait_for("asked:"))[0]
    yield process
    if process.process.poll() is None:
        process.stop()


def ask(gateway, body, path="/v1/chat/completions"):
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    return Answer(gateway, "POST", path, body, headers)


def wait_for_ready(gateway, status):
    end = time.monotonic() + WAIT_S
    while (answer := Answer(gateway, "GET", "/health/ready")).status != status:
        assert time.monotonic() < end, answer.text
        time.sleep(0.2)
    return json.loads(answer.text)


def log_lines(gateway):
    assert gateway.stop()[0] in {0, 1}
    return [json.loads(line) for line in gateway.log.splitlines()]


def test_a_disk_that_is_full_is_seen_by_readiness_and_the_log_says_what_the_client_saw(gateway):
    assert wait_for_ready(gateway, 200)["status"] == "ready"
    # No file of this process can grow any more, as on a full disk.
    limits = resource.prlimit(
        gateway.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)
    )
    assert wait_for_ready(gateway, 503)["status"] == "the store cannot be written"
    answers = [ask(gateway, CHAT), ask(gateway, {**CHAT, "stream": True})]
    for answer in answers:
        assert "Errno" not in answer.text
        assert "gatewayz.db" not in answer.text
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, limits)
    wait_for_ready(gateway, 200)
    assert ask(gateway, CHAT).status == 200

    lines = {line["request_id"]: line for line in log_lines(gateway) if line["event"] == "call"}
    for answer in answers:
        assert lines[answer.headers["x-request-id"]]["status"] == answer.status


def test_a_refused_request_is_logged_with_its_path_and_told_where_it_was_meant_to_go(gateway):
    wrong = {
        "/chat/completions": "did you mean /v1/chat/completions? The base URL ends with /v1",
        "/v1/v1/messages": "did you mean /v1/messages? Leave /v1 out of the base URL",
        "/nothing/%1B[31mred": "There is nothing at POST /nothing/",
        "/nothing/sk-abcdefghijklmnop": "There is nothing at POST /nothing/",
    }
    for path, words in wrong.items():
        answer = ask(gateway, CHAT, path)
        assert answer.status == 404
        assert words in answer.message
    refused = Answer(gateway, "GET", "/v1/chat/completions")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert "POST is" in refused.message
    paths = [line["endpoint"] for line in log_lines(gateway) if line["event"] == "refused"]
    assert paths == [
        "/chat/completions",
        "/v1/v1/messages",
        "/nothing/%1B[31mred",
        "/nothing/***",
        "/v1/chat/completions",
    ]


def test_a_second_signal_gives_each_running_call_its_typed_end(gateway):
    answers = []

    def call(body, **headers):
        answers.append(ask(gateway, body, **headers))

    slow = {**CHAT, "model": "simulator/fault-hang-before"}
    anthropic = {
        "model": "simulator/fault-hang-before",
        "max_tokens": 5,
        "messages": CHAT["messages"],
    }
    threads = [
        threading.Thread(target=call, args=(slow,)),
        threading.Thread(target=call, args=({**slow, "stream": True},)),
        threading.Thread(target=call, args=(anthropic,), kwargs={"path": "/v1/messages"}),
    ]
    for thread in threads:
        thread.start()
    time.sleep(2)
    gateway.process.send_signal(signal.SIGINT)
    assert "3 running calls may end within 30 s" in gateway.wait_for("stopping")
    gateway.process.send_signal(signal.SIGINT)
    for thread in threads:
        thread.join(WAIT_S)
    assert gateway.process.wait(WAIT_S) == 1
    assert len(answers) == 3
    for answer in answers:
        assert answer.status in {503, 529}
        assert "shutting down" in answer.message
        assert answer.headers["x-request-id"]


def test_on_a_terminal_the_log_is_for_people(tmp_path):
    ours, theirs = pty.openpty()
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port)],
        cwd=tmp_path,
        env=CLEAN_ENV,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    text = b""
    while b"\n" not in text:
        text += os.read(ours, 1_000)
    process.terminate()
    assert process.wait(WAIT_S) == 0
    os.close(ours)
    assert re.match(
        rb"\d\d:\d\d:\d\d call 200 simulator/echo \S+ simulator/echo \d+\+\d+ tokens \$0 \d+ ms house \w{26}\r\n",
        text,
    ), text
