"""What is measured: nginx, a bare Python proxy for orientation, and the gateway, each a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
READY_S = 20.0

NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; master_process off;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; keepalive_requests 1000000;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
                  client_max_body_size 64m; }}
  }}
}}
"""

CONFIG = """
web: {{host: 127.0.0.1, port: {port}}}
data_dir: {dir}/data
database: {{url: "{url}"}}
providers:
  openai: {{base_url: "http://127.0.0.1:{upstream}/v1", key: sk-bench}}
  anthropic: {{base_url: "http://127.0.0.1:{upstream}", key: sk-bench}}
  google-ai-studio: {{base_url: "http://127.0.0.1:{upstream}/v1beta", key: sk-bench}}
models:
  - id: openai/gpt-4o-mini
    aliases: [gpt-4o-mini]
    offers: [{{provider: openai, upstream_id: gpt-4o-mini, price: {{input: "0.15", output: "0.60"}}}}]
  - id: anthropic/claude-sonnet-4-5
    aliases: [claude-sonnet-4-5]
    offers: [{{provider: anthropic, upstream_id: claude-sonnet-4-5, price: {{input: "3.00", output: "15.00"}}}}]
  - id: google/gemini-2.5-flash
    aliases: [gemini-2.5-flash]
    offers: [{{provider: google-ai-studio, upstream_id: gemini-2.5-flash, price: {{input: "0.30", output: "2.50"}}}}]
limits: {{key_rpm: 100000000, account_rpm: 100000000, system_rpm: 1000000000, key_per_day: 1000000000,
          burst: 10000000, key_concurrency: 100000, account_concurrency: 100000}}
observe: {{log: {dir}/log.jsonl}}
"""


@dataclass(frozen=True)
class BooksConfig:
    """Where a gateway keeps its books, and whether the caller has a wallet there."""

    name: str
    url: str = ""
    prepaid: bool = False


@dataclass
class Target:
    """A running process and how to call it."""

    name: str
    port: int
    key: str
    process: subprocess.Popen[bytes]

    def cpu_us(self) -> int:
        """User and system time of the process and its children so far, in microseconds."""
        return sum(_cpu_us(pid) for pid in _process_tree(self.process.pid))

    def pss_kib(self) -> int:
        return sum(_pss_kib(pid) for pid in _process_tree(self.process.pid))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _process_tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(inner for child in children for inner in _process_tree(int(child)))]


def _cpu_us(pid: int) -> int:
    # schedstat counts nanoseconds on the processor; stat only knows ticks of 10 ms.
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0]) // 1000
    return total


def _pss_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except ProcessLookupError:
        # It has ended, and nobody has waited for it yet.
        return 0
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))


def compile_programs(folder: Path) -> tuple[Path, Path]:
    """The C programs: upstream and load generator."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit(
            "A C compiler is needed for the load generator (Debian: apt-get install gcc libc6-dev)."
        )
    made = []
    for name in ("upstream", "loadgen"):
        subprocess.run([compiler, "-O2", "-w", "-o", folder / name, HERE / f"{name}.c"], check=True)
        made.append(folder / name)
    return made[0], made[1]


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], name: str) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"{name} ended with status {process.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{name} did not start")


def start_nginx(port: int, upstream: int, folder: Path) -> Target | None:
    """nginx as a keep-alive proxy; nothing when it is not installed."""
    binary = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if binary is None:
        return None
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / "nginx.conf").write_text(NGINX.format(dir=place, port=port, upstream=upstream))
    process = subprocess.Popen(
        [binary, "-c", place / "nginx.conf", "-p", place], stderr=subprocess.DEVNULL
    )
    _wait_until_ready(port, process, "nginx")
    return Target("nginx", port, "sk-bench", process)


def start_bare_proxy(name: str, port: int, upstream: int) -> Target:
    """uvicorn and aiohttp with nothing between them."""
    command = [sys.executable, "-m", "bench.bare", str(port), str(upstream)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    _wait_until_ready(port, process, name)
    return Target(name, port, "sk-bench", process)


def start_gateway(
    port: int, upstream: int, folder: Path, kept: BooksConfig = BooksConfig("gatewayz")
) -> Target:
    """The gateway as people run it, log and metrics on; callers pay from a wallet where `kept` says so."""
    place = Path(tempfile.mkdtemp(dir=folder))
    config = place / "bench.yaml"
    config.write_text(CONFIG.format(dir=place, port=port, upstream=upstream, url=kept.url))
    bootstrap = _run_cli("keys", "create", "--print")
    key = _create_prepaid_key(config) if kept.prepaid else bootstrap
    command = [sys.executable, "-m", "gatewayz", "serve", "--config", str(config)]
    environment = {**os.environ, "GATEWAYZ_BOOTSTRAP_KEY": bootstrap}
    process = subprocess.Popen(
        command, cwd=place, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    _wait_until_ready(port, process, kept.name)
    return Target(kept.name, port, key, process)


def _create_prepaid_key(config: Path) -> str:
    """The key of an account that pays for its calls."""
    where = ("--config", str(config))
    _run_cli("migrate", *where)
    _run_cli("accounts", "create", "bench", *where)
    _run_cli("credits", "topup", "bench", "100000", *where)
    return _run_cli("keys", "create", "--account", "bench", *where)


def _run_cli(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gatewayz", *arguments], capture_output=True, check=True
    )
    return done.stdout.decode().strip()
