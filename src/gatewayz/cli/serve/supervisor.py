"""The supervisor: keeps workers alive on one port, sums what they count, and drains them together.

A worker is this program started anew, with a listening socket of its own and a channel to here. One
that ends unasked is started again after a wait that doubles; one that falls silent is ended, as the
kernel would go on to give it connections; a gateway without any worker for too
long ends, so that whoever started it knows.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from gatewayz.cli.serve.drain_message import print_stopping
from gatewayz.cli.serve.lock import ServingLock
from gatewayz.cli.serve.worker_channel import (
    Alive,
    CountsReport,
    CountsRequest,
    CountsTotal,
    CountsTotalRequest,
    Drain,
    FromWorker,
    MessageChannel,
    Ready,
    StartWorker,
    open_channel,
)
from gatewayz.core.facts import Fact, Warned
from gatewayz.engine.background import WorkerTasks
from gatewayz.observe.log import LogWriter, open_log
from gatewayz.observe.metrics_snapshot import (
    Labels,
    MetricsAggregator,
    MetricsSnapshot,
    merge_snapshots,
)
from gatewayz.settings import LoadedSettings
from gatewayz.web.listener import bind_socket

FIRST_RESTART_WAIT_S = 0.5
MAX_RESTART_WAIT_S = 30.0
STEADY_S = 60.0
"""A worker that lived this long is started again at once, or nearly."""
GIVE_UP_S = 60.0
"""So long without any worker that serves, and the gateway ends."""
COUNTS_TIMEOUT_S = 0.5
"""A worker that does not report its counts in this time is shown with its last ones."""
START_SILENT_TIMES = 3
"""A worker that starts says that it is alive as well, but first it must be loaded: so many times
`web.worker_silent_s` may pass until it serves.
"""
LOOK_EVERY_S = 0.5
"""How often the supervisor looks who is silent."""
CLOSING_S = 15.0
"""After the grace: how long a worker may take for typed ends, settlements and closing."""
HURRY_S = 5.0
"""After a second signal: how long a worker may take before it is killed."""


class WorkerProcess:
    """A worker process, as the supervisor sees it."""

    def __init__(
        self,
        number: int,
        process: asyncio.subprocess.Process,
        channel: "MessageChannel[FromWorker]",
    ) -> None:
        self.number = number
        self.process = process
        self.channel = channel
        self.ready = False
        self.silent_s = 0.0
        self.was_silent = False
        self.counts_received = asyncio.Event()
        self.total_task: asyncio.Task[None] | None = None

    def drain(self, *, hurry: bool = False) -> None:
        if self.ready:
            self.channel.send(Drain(hurry))
        elif self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.terminate()

    def kill(self) -> None:
        # It may have ended without anybody having noticed yet.
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()


class Supervisor:
    """Keeps `web.workers` workers at one address."""

    def __init__(
        self,
        loaded: LoadedSettings,
        address: tuple[str, int],
        log: LogWriter | None,
        on_drain: Callable[[], None] = lambda: None,
    ) -> None:
        self._loaded = loaded
        self._on_drain = on_drain
        self._address = address
        self._log = log
        self._count = loaded.settings.web.workers
        self._workers: dict[int, WorkerProcess] = {}
        self._restarts: dict[Labels, float] = {}
        self._sums = MetricsAggregator()
        self._first_worker_ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._served_at = 0.0
        self._tasks = WorkerTasks(self._emit)
        self.status = 0

    async def run(self) -> int:
        """Serves until it is told to stop; exit status 0 when every call could end as it should."""
        loop = asyncio.get_running_loop()
        self._served_at = loop.time()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        slots = [loop.create_task(self._run_slot(number + 1)) for number in range(self._count)]
        self._tasks.repeat("workers", self._end_silent_workers, LOOK_EVERY_S)
        await self._stopping.wait()
        self._on_drain()

        grace_s = self._loaded.settings.web.grace_s + CLOSING_S
        _, late = await asyncio.wait(slots, timeout=grace_s)
        if late:
            self._kill_workers()
            await asyncio.wait(late)
        await self._tasks.stop()
        return self.status

    def _on_signal(self) -> None:
        """The first signal drains; the second one does not wait."""
        hurry = self._stopping.is_set()
        self._stop()
        if hurry:
            for worker in self._workers.values():
                worker.drain(hurry=True)
            asyncio.get_running_loop().call_later(HURRY_S, self._kill_workers)

    def _stop(self) -> None:
        self._stopping.set()
        for worker in self._workers.values():
            worker.drain()

    def _kill_workers(self) -> None:
        for worker in self._workers.values():
            if worker.process.returncode is None:
                self._log_warning(f"worker {worker.number} did not end and was killed")
                self.status = 1
                worker.kill()

    async def _end_silent_workers(self) -> None:
        """Ends each worker that has said nothing for `web.worker_silent_s`, or while it starts for
        `START_SILENT_TIMES` as long.

        Silence is counted in looks, not read from a clock: after the whole machine has slept, or
        this process, each worker has as long as ever to say something.
        """
        serving_s = self._loaded.settings.web.worker_silent_s
        for worker in self._workers.values():
            worker.silent_s += LOOK_EVERY_S
            limit_s = serving_s if worker.ready else START_SILENT_TIMES * serving_s
            if worker.silent_s > limit_s:
                worker.silent_s, worker.was_silent = 0.0, True
                worker.kill()
                self._log_warning(
                    f"worker {worker.number} has said nothing for {limit_s:g} s and is ended"
                )

    async def _run_slot(self, number: int) -> None:
        """Keeps one slot filled until the gateway stops.

        The first worker brings the schema up to date and makes the first key; the others wait.
        """
        if number > 1:
            await _wait_for_any(self._first_worker_ready, self._stopping)
        wait_s = FIRST_RESTART_WAIT_S / 2
        while not self._stopping.is_set():
            started_at = _now()
            try:
                status, ready, was_silent = await self._run_worker(number)
            except Exception as error:  # noqa: BLE001 - a slot that ended would stay empty for ever
                self._log_warning(f"worker {number}: {type(error).__name__}: {error}")
                status, ready, was_silent = 1, False, False
            if self._on_worker_exit(status, ready=ready, was_silent=was_silent):
                return

            steady = _now() - started_at > STEADY_S
            wait_s = FIRST_RESTART_WAIT_S if steady else min(2 * wait_s, MAX_RESTART_WAIT_S)
            self._restarts[str(number),] = self._restarts.get((str(number),), 0.0) + 1
            ending = _exit_status_text(status)
            self._log_warning(
                f"worker {number} ended with {ending}; another is started in {wait_s:g} s"
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    def _on_worker_exit(self, status: int, *, ready: bool, was_silent: bool) -> bool:
        """Whether the slot stays empty after its worker has ended."""
        if self._stopping.is_set():
            self.status = self.status or (1 if status and ready else 0)
            return True
        if not self._first_worker_ready.is_set() and not was_silent:
            # The first one never served: what keeps it from starting would keep the others.
            self.status = status if status > 0 else 1
            self._stop()
            return True
        if ready:
            self._served_at = _now()
        alive = any(worker.ready for worker in self._workers.values())
        if not alive and _now() - self._served_at > GIVE_UP_S:
            self.status = 1
            print(f"gatewayz: no worker could be started for {GIVE_UP_S:g} s.", file=sys.stderr)
            self._stop()
            return True
        return False

    async def _run_worker(self, number: int) -> tuple[int, bool, bool]:
        """The life of one worker: its exit status, whether it served, and whether it was ended
        because it said nothing.
        """
        try:
            worker = await self._spawn_worker(number)
        except OSError as error:
            self._log_warning(f"worker {number} could not be started: {error.strerror or error}")
            return 1, False, False

        self._workers[number] = worker
        if self._stopping.is_set():
            worker.drain()
        try:
            while (message := await worker.channel.receive()) is not None:
                worker.silent_s = 0.0
                self._on_message(worker, message)
            return await worker.process.wait(), worker.ready, worker.was_silent
        finally:
            worker.channel.close()
            worker.kill()
            del self._workers[number]
            self._sums.retire(str(number))

    async def _spawn_worker(self, number: int) -> WorkerProcess:
        ours, theirs = socket.socketpair()
        with theirs, bind_socket(*self._address, reuse_port=True) as listening:
            inherited = (theirs.fileno(), listening.fileno())
            # In a session of its own: a signal from the terminal is for the supervisor, which
            # tells the workers once.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gatewayz", "worker", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=inherited,
                start_new_session=True,
            )

        channel = await open_channel(ours, FromWorker)
        channel.send(
            StartWorker(
                loaded=self._loaded,
                worker=number,
                workers=self._count,
                listening=inherited[1],
                prints_banner=number == 1 and not self._first_worker_ready.is_set(),
            )
        )
        return WorkerProcess(number, process, channel)

    def _on_message(self, worker: WorkerProcess, message: FromWorker) -> None:
        match message:
            case Ready():
                worker.ready = True
                self._first_worker_ready.set()
                if self._stopping.is_set():
                    worker.drain()
            case Alive():
                pass
            case CountsReport(counts=counts):
                self._sums.update(str(worker.number), counts)
                worker.counts_received.set()
            case CountsTotalRequest(counts=counts):
                self._sums.update(str(worker.number), counts)
                if worker.total_task is None or worker.total_task.done():
                    worker.total_task = asyncio.create_task(self._send_total(worker))

    async def _send_total(self, asker: WorkerProcess) -> None:
        """Sends one worker the counts of all; one that does not report is not waited for long."""
        others = [
            worker for worker in self._workers.values() if worker.ready and worker is not asker
        ]
        for worker in others:
            worker.counts_received.clear()
            worker.channel.send(CountsRequest())

        waits = [asyncio.create_task(worker.counts_received.wait()) for worker in others]
        _, late = await asyncio.wait(waits, timeout=COUNTS_TIMEOUT_S) if waits else (set(), set())
        for wait in late:
            wait.cancel()

        reported = {worker.number for worker in others if worker.counts_received.is_set()}
        asker.channel.send(CountsTotal(self._total({asker.number, *reported})))

    def _total(self, reported: set[int]) -> MetricsSnapshot:
        total = merge_snapshots(
            self._sums.total(),
            MetricsSnapshot(counters={"gatewayz_worker_restarts": self._restarts}),
        )
        numbers = range(1, self._count + 1)
        up: dict[Labels, float] = {(str(number),): float(number in reported) for number in numbers}
        return MetricsSnapshot(
            counters=total.counters,
            histograms=total.histograms,
            gauges={**total.gauges, "gatewayz_worker_up": up},
            levels=total.levels,
        )

    def _log_warning(self, message: str) -> None:
        self._emit(Warned(subject="workers", message=message))

    def _emit(self, fact: Fact) -> None:
        if self._log is not None:
            self._log.on_facts([fact])


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _wait_for_any(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _exit_status_text(status: int) -> str:
    """An exit status in words; a negative one is a signal."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def supervise(loaded: LoadedSettings, address: tuple[str, int], lock: ServingLock) -> int:
    """Serves with several workers; returns the exit status."""

    def on_drain() -> None:
        lock.release()
        print_stopping(loaded.settings.web.grace_s, None)

    async def run() -> int:
        async with AsyncExitStack() as stack:
            log = open_log(loaded.settings.observe.log, stack, shared=True)
            return await Supervisor(loaded, address, log, on_drain).run()

    return asyncio.run(run())
