"""The command as people use it: real processes in an environment without anybody's keys."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

CLEAN_ENV = {
    name: value
    for name, value in os.environ.items()
    if not re.search(r"GATEWAYZ|API_KEY|_TOKEN", name)
}
COMMAND = [sys.executable, "-m", "gatewayz"]
WAIT_S = 120
"""For what takes a second or two on a machine that has nothing else to do."""


def run_command(place, *arguments, **more):
    env = CLEAN_ENV | more.pop("env", {})
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        **more,
    )
    return done.returncode, done.stdout, done.stderr


class GatewayProcess:
    """A `gatewayz serve` process on a free port."""

    def __init__(self, place, *arguments, env=None, port=0):
        self.port = port or free_port()
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(self.port), *arguments],
            cwd=place,
            env=CLEAN_ENV | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stderr = self.log = self.key = ""
        self._open_streams = 2
        self._changed = threading.Condition()
        self.readers = [
            threading.Thread(target=self._read, args=one, daemon=True)
            for one in ((self.process.stderr, "stderr"), (self.process.stdout, "log"))
        ]
        for thread in self.readers:
            thread.start()

    def _read(self, stream, name):
        for line in stream:
            with self._changed:
                setattr(self, name, getattr(self, name) + line)
                self._changed.notify_all()
        stream.close()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()

    def wait_for(self, text, wait_s=WAIT_S):
        """Everything that it has written to a person, once `text` is in it."""
        with self._changed:
            self._changed.wait_for(lambda: text in self.stderr or not self._open_streams, wait_s)
            assert text in self.stderr, self.stderr
            return self.stderr

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=WAIT_S)
        for thread in self.readers:
            thread.join(WAIT_S)
        return status, self.log

    def worker_pids(self):
        """The processes that serve, if they are several: by their ids, in the order of their starting."""
        listed = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        return [
            int(one)
            for one in listed
            if b"worker" in Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
        ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
