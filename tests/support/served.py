"""The command as people use it: real processes in an environment without anybody's keys."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not re.search(r"GATEWAYZ|API_KEY|_TOKEN", name)
}
COMMAND = [sys.executable, "-m", "gatewayz"]


def run(place, *arguments, **more):
    env = CLEAN | more.pop("env", {})
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )
    return done.returncode, done.stdout, done.stderr


class Served:
    """A `gatewayz serve` process on a free port."""

    def __init__(self, place, *arguments, env=None, port=0):
        self.port = port or free_port()
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(self.port), *arguments],
            cwd=place,
            env=CLEAN | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = self.log = ""
        self.readers = [
            threading.Thread(target=self._read, args=one, daemon=True)
            for one in ((self.process.stderr, "said"), (self.process.stdout, "log"))
        ]
        for thread in self.readers:
            thread.start()

    def _read(self, stream, keep):
        for line in stream:
            setattr(self, keep, getattr(self, keep) + line)
        stream.close()

    def until(self, text, wait_s=20):
        end = time.monotonic() + wait_s
        while text not in self.said and time.monotonic() < end:
            assert self.process.poll() is None, self.said
            time.sleep(0.05)
        assert text in self.said, self.said
        return self.said

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        for thread in self.readers:
            thread.join(5)
        return status, self.log

    def workers(self):
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
