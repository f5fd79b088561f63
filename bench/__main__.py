"""`make bench`: CPU per call and per event, calls a second, added latency, memory; a JSON file and a table."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.postgres import running_postgres

from bench.targets import (
    HERE,
    ROOT,
    BooksConfig,
    Target,
    compile_programs,
    start_bare_proxy,
    start_gateway,
    start_nginx,
)

PORTS = {
    "upstream": 18901,
    "paced": 18902,
    "nginx": 18910,
    "bare": 18920,
    "gatewayz": 18930,
    "ledgers": 18940,
}
EVENTS = 102
GAP_MS = 10
GOALS = {"json_us": 5.0, "burst_us": 5.0, "paced_us": 2.0}
"""At most this many times `BARE`, in the same run: multiples of nginx do not carry from machine to machine."""
BARE = "bare uvicorn + aiohttp"
MEMORY, SQLITE, POSTGRESQL = (
    "gatewayz, in memory",
    "gatewayz, SQLite, prepaid",
    "gatewayz, PostgreSQL, prepaid",
)
LEDGER_GOAL = 1.6
"""CPU per call on SQLite, for a caller with a wallet: at most this many times the same build without a store."""
ECHO = "gatewayz"
"""A prepaid customer on SQLite, log and metrics on: what is quoted in the README."""
TRANSLATIONS = {
    "gatewayz, OpenAI over Anthropic": ("stream", "claude-sonnet-4-5"),
    "gatewayz, OpenAI over Gemini": ("stream", "gemini-2.5-flash"),
    "gatewayz, Anthropic over OpenAI": ("messages", "gpt-4o-mini"),
    "gatewayz, Anthropic over Gemini": ("messages", "gemini-2.5-flash"),
    "gatewayz, Anthropic over Anthropic": ("messages", "claude-sonnet-4-5"),
}
"""A client's wire over an upstream's: the request, and the model that is served on that upstream."""
TRANSLATION_GOAL = 1.6
"""CPU per event between dialects: at most this many times the echo (OpenAI over OpenAI)."""


@dataclass(frozen=True)
class LoadRequest:
    """What the load sends, and where to."""

    path: str
    body: Path


def write_requests(folder: Path) -> dict[str, LoadRequest]:
    """The requests: 2 KB, whole and streamed, and streamed for every crossing."""
    words = [
        "the",
        "quick",
        "model",
        "answers",
        "every",
        "question",
        "about",
        "capital",
        "rivers",
        "history",
        "people",
        "science",
        "music",
        "travel",
        "code",
    ]
    text = " ".join(words[number % len(words)] for number in range(230))
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": text},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    plain: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": messages,
        "temperature": 0.7,
        "max_tokens": 256,
        "user": "user-1234",
    }
    streamed = plain | {"stream": True, "stream_options": {"include_usage": True}}
    said = {**plain, "system": messages[0]["content"], "messages": messages[1:], "stream": True}
    del said["user"]
    chat, spoken = "/v1/chat/completions", "/v1/messages"
    wanted = {"json": (chat, plain), "stream": (chat, streamed), "messages": (spoken, said)}
    wanted |= {
        name: (wanted[body][0], wanted[body][1] | {"model": model})
        for name, (body, model) in TRANSLATIONS.items()
    }
    made = {}
    for number, (name, (path, body)) in enumerate(wanted.items()):
        made[name] = LoadRequest(path, folder / f"request-{number}.json")
        made[name].body.write_text(json.dumps(body, separators=(",", ":")))
    return made


class Bench:
    """Runs loads against targets and keeps every round."""

    def __init__(self, loadgen: Path, requests: dict[str, LoadRequest]) -> None:
        self._loadgen = loadgen
        self._requests = requests
        self.rounds: dict[str, dict[str, list[float]]] = {}

    def run_load(
        self, target: Target, request: str, conns: int, count: int, rate: int = 0
    ) -> dict[str, Any]:
        command = [
            self._loadgen,
            "-p",
            target.port,
            "-c",
            conns,
            "-n",
            count,
            "-h",
            self._requests[request].path,
            "-b",
            self._requests[request].body,
            "-k",
            target.key,
        ]
        if rate:
            command += ["-r", rate]
        done = subprocess.run([str(part) for part in command], capture_output=True, timeout=120)
        if done.returncode:
            sys.exit(f"the load on {target.name} failed: {done.stderr.decode()}")
        result: dict[str, Any] = json.loads(done.stdout)
        if result["errors"] or result["non200"]:
            sys.exit(
                f"{target.name}: {result['errors']} errors, {result['non200']} answers that are no success"
            )
        return result

    def record(self, target: str, name: str, value: float) -> None:
        self.rounds.setdefault(target, {}).setdefault(name, []).append(value)

    def measure_cpu(
        self, target: Target, name: str, request: str, conns: int, count: int, row: str = ""
    ) -> dict[str, Any]:
        before = target.cpu_us()
        result = self.run_load(target, request, conns, count)
        units = EVENTS if name == "paced_us" else 1
        self.record(row or target.name, name, (target.cpu_us() - before) / count / units)
        return result


def run_benchmark(quick: bool) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    folder = Path(tempfile.mkdtemp(prefix="gatewayz-bench-"))
    upstream, loadgen = compile_programs(folder)
    bench = Bench(loadgen, write_requests(folder))
    running: list[subprocess.Popen[bytes]] = []
    targets: list[Target] = []
    notes: list[str] = []
    try:
        for name, arguments in (("upstream", []), ("paced", ["0", str(GAP_MS), str(EVENTS - 2)])):
            running.append(subprocess.Popen([str(upstream), str(PORTS[name]), *arguments]))
        for kind in ("upstream", "paced"):
            proxy = start_nginx(PORTS["nginx"], PORTS[kind], folder)
            if proxy is None:
                notes.append("nginx is not installed: no row of it (apt-get install nginx-light)")
            started = [
                proxy,
                start_bare_proxy(BARE, PORTS["bare"], PORTS[kind]),
                start_gateway(
                    PORTS["gatewayz"], PORTS[kind], folder, BooksConfig(ECHO, prepaid=True)
                ),
            ]
            targets = [target for target in started if target is not None]
            _run_rounds(bench, targets, kind, quick)
            for target in targets:
                target.stop()
            targets = []
        print("  ledgers", file=sys.stderr, flush=True)
        with running_postgres() as server:
            prepaid = (
                BooksConfig(SQLITE, prepaid=True),
                BooksConfig(POSTGRESQL, server.dsn(), prepaid=True),
            )
            for number, one in enumerate((BooksConfig(MEMORY, "memory:"), *prepaid)):
                targets.append(
                    start_gateway(PORTS["ledgers"] + number, PORTS["upstream"], folder, one)
                )
            _run_ledger_rounds(bench, targets, quick)
            for target in targets:
                target.stop()
            targets = []
    finally:
        for target in targets:
            target.stop()
        for process in running:
            process.kill()
    return bench.rounds, notes


def _measure_latency(bench: Bench, targets: list[Target], port: int) -> None:
    """What each target adds to the upstream itself, at 200 calls a second."""
    floor = bench.run_load(
        Target("direct", port, "sk-bench", targets[0].process), "json", 8, 400, 200
    )
    for target in targets:
        result = bench.run_load(target, "json", 8, 400, 200)
        for quantile in ("p50", "p99"):
            bench.record(target.name, f"added_{quantile}_us", result[quantile] - floor[quantile])


def _run_ledger_rounds(bench: Bench, targets: list[Target], quick: bool) -> None:
    for target in targets:
        bench.run_load(target, "json", 16, 300)
        bench.record(target.name, "memory_mib", target.pss_kib() / 1024)
    for _ in range(2 if quick else 5):
        for target in targets:
            result = bench.measure_cpu(target, "json_us", "json", 16, 2_000 if quick else 6_000)
            bench.record(target.name, "calls_per_s", result["rps"])
            bench.measure_cpu(target, "burst_us", "stream", 16, 500 if quick else 1_500)
        _measure_latency(bench, targets, PORTS["upstream"])


def _run_rounds(bench: Bench, targets: list[Target], kind: str, quick: bool) -> None:
    for target in targets:
        bench.run_load(target, "json" if kind == "upstream" else "stream", 16, 300)
        bench.record(target.name, "memory_mib", target.pss_kib() / 1024)
    for number in range(2 if quick else 5):
        print(f"  {kind} round {number + 1}", file=sys.stderr, flush=True)
        for target in targets:
            if kind == "paced":
                bench.measure_cpu(target, "paced_us", "stream", 50, 100 if quick else 200)
                continue
            result = bench.measure_cpu(target, "json_us", "json", 16, 2_000 if quick else 6_000)
            bench.record(target.name, "calls_per_s", result["rps"])
            bench.measure_cpu(target, "burst_us", "stream", 16, 500 if quick else 1_500)
        for crossing in TRANSLATIONS:
            if kind == "paced":
                bench.measure_cpu(
                    targets[-1], "paced_us", crossing, 50, 100 if quick else 200, crossing
                )
            else:
                bench.measure_cpu(
                    targets[-1], "burst_us", crossing, 16, 500 if quick else 1_500, crossing
                )
        if kind == "upstream":
            _measure_latency(bench, targets, PORTS["upstream"])


COLUMNS = {
    "json_us": "CPU µs per JSON call",
    "burst_us": f"CPU µs per burst of {EVENTS} events",
    "paced_us": f"CPU µs per event, {GAP_MS} ms apart",
    "calls_per_s": "calls/s (c=16)",
    "added_p50_us": "added p50 µs (200/s)",
    "added_p99_us": "added p99 µs",
    "memory_mib": "memory MiB",
}


def render_table(rounds: dict[str, dict[str, list[float]]]) -> str:
    medians = {
        name: {key: statistics.median(values) for key, values in row.items()}
        for name, row in rounds.items()
    }
    floor = medians[BARE]
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    for name, row in medians.items():
        cells = []
        for key in COLUMNS:
            if key not in row:
                cells.append("–")
                continue
            ratio = f" ({row[key] / floor[key]:.1f}×)" if key in GOALS and name != BARE else ""
            cells.append(f"{row[key]:,.0f}{ratio}" if row[key] >= 100 else f"{row[key]:.1f}{ratio}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(rounds: dict[str, dict[str, list[float]]]) -> list[str]:
    said = []
    plain, sqlite, postgresql = (
        statistics.median(rounds[name]["json_us"]) for name in (MEMORY, SQLITE, POSTGRESQL)
    )
    verdict = "met " if sqlite / plain <= LEDGER_GOAL else "OVER"
    said.append(
        f"{verdict}  CPU µs per JSON call of a caller with a wallet: SQLite {sqlite / plain:.2f} × memory, goal "
        f"{LEDGER_GOAL} ×; PostgreSQL {postgresql / plain:.2f} × (its own processes not counted)"
    )
    for key in ("burst_us", "paced_us"):
        echo = statistics.median(rounds[ECHO][key])
        ratios = {name: statistics.median(rounds[name][key]) / echo for name in TRANSLATIONS}
        verdict = "met " if max(ratios.values()) <= TRANSLATION_GOAL else "OVER"
        quoted = ", ".join(
            f"{name.partition(', ')[2]} {ratio:.2f} ×" for name, ratio in ratios.items()
        )
        said.append(
            f"{verdict}  {COLUMNS[key]}, of OpenAI over OpenAI: {quoted}; goal {TRANSLATION_GOAL} ×"
        )
    for key, goal in GOALS.items():
        ratio = statistics.median(rounds[ECHO][key]) / statistics.median(rounds[BARE][key])
        said.append(
            f"{'met ' if ratio <= goal else 'OVER'}  {COLUMNS[key]}: {ratio:.1f} × bare, goal {goal:g} ×"
        )
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds instead of five")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a goal is missed")
    options = parser.parse_args()
    print("measuring, about a minute a quick run and three a full one", file=sys.stderr, flush=True)
    rounds, notes = run_benchmark(options.quick)
    now = datetime.now(UTC)
    commit = (
        subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, cwd=ROOT)
        .stdout.decode()
        .strip()
    )
    shown, said = render_table(rounds), verdicts(rounds)
    machine = (
        f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    )
    text = f"# Benchmark of {now:%Y-%m-%d}, {commit or 'no commit'}\n\n"
    text += f"{machine}; load and upstream on the same two cores; `×` are multiples of the bare proxy.\n\n"
    text += shown + "\n\n" + "\n".join(f"- {line}" for line in [*said, *notes]) + "\n"
    (HERE / "results" / "latest.md").write_text(text)
    saved = {"at": now.isoformat(), "commit": commit, "machine": machine, "rounds": rounds}
    (HERE / "results" / f"{now:%Y-%m-%d}-{commit or 'none'}.json").write_text(
        json.dumps(saved, indent=1) + "\n"
    )
    print(text)
    if options.check and any(line.startswith("OVER") for line in said):
        sys.exit(1)


if __name__ == "__main__":
    main()
