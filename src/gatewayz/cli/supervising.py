"""The supervisor: keeps so many workers alive on one port, sums what they count, and drains them together.

A worker is this program started anew, with a listening socket of its own and a line to here. One that ends unasked is
started again after a while that doubles; a gateway without any worker for too long ends, so that whoever started it
knows.
"""

import asyncio
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress

from gatewayz.cli.lines import (
    Asked,
    Counted,
    Drain,
    FromWorker,
    Line,
    Ready,
    Start,
    Sum,
    Tell,
    line_over,
)
from gatewayz.core.facts import Warned
from gatewayz.observe.counts import Counts, Labels, Sums, added
from gatewayz.observe.log import LogWriter, opened_log
from gatewayz.settings import Loaded
from gatewayz.web.listening import bound

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_S = 60.0
"""A worker that lived this long is started again at once, or nearly."""
GIVE_UP_S = 60.0
"""So long without any worker that serves, and the gateway ends."""
ANSWER_S = 0.5
"""A worker that does not tell its numbers in this time is shown with what it told last."""
CLOSING_S = 15.0
"""After the grace: how long a worker may take for typed ends, settlements and closing."""
HURRY_S = 5.0


class Worker:
    """A worker process, as the supervisor sees it."""

    def __init__(
        self, number: int, process: asyncio.subprocess.Process, line: "Line[FromWorker]"
    ) -> None:
        self.number = number
        self.process = process
        self.line = line
        self.ready = False
        self.answered = asyncio.Event()
        self.answer: asyncio.Task[None] | None = None

    def drain(self, *, hurry: bool = False) -> None:
        if self.ready:
            self.line.put(Drain(hurry))
        elif self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()


class Supervisor:
    """Keeps `web.workers` workers at one address."""

    def __init__(self, found: Loaded, address: tuple[str, int], log: LogWriter | None) -> None:
        self._found = found
        self._address = address
        self._log = log
        self._count = found.settings.web.workers
        self._workers: dict[int, Worker] = {}
        self._restarts: dict[Labels, float] = {}
        self._sums = Sums()
        self._opened = asyncio.Event()
        self._stopping = asyncio.Event()
        self._served_at = 0.0
        self.status = 0

    async def run(self) -> int:
        """Serves until it is told to stop; the exit status is 0 when every call could end as it should."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        places = [loop.create_task(self._kept(number + 1)) for number in range(self._count)]
        await self._stopping.wait()
        grace_s = self._found.settings.web.grace_s + CLOSING_S
        _, late = await asyncio.wait(places, timeout=grace_s)
        if late:
            self._kill()
            await asyncio.wait(late)
        return self.status

    def _signalled(self) -> None:
        """The first signal drains; the second one does not wait."""
        hurry = self._stopping.is_set()
        self._stop()
        if hurry:
            for worker in self._workers.values():
                worker.drain(hurry=True)
            asyncio.get_running_loop().call_later(HURRY_S, self._kill)

    def _stop(self) -> None:
        self._stopping.set()
        for worker in self._workers.values():
            worker.drain()

    def _kill(self) -> None:
        for worker in self._workers.values():
            if worker.process.returncode is None:
                self._say(f"worker {worker.number} did not end and was killed")
                self.status = 1
                worker.kill()

    async def _kept(self, number: int) -> None:
        """Keeps one place filled until the gateway stops. The first worker opens the gateway, then come the others."""
        if number > 1:
            await _first_of(self._opened, self._stopping)
        wait_s = FIRST_WAIT_S / 2
        while not self._stopping.is_set():
            began = _now()
            status, ready = await self._lived(number)
            if self._ended(status, ready=ready):
                return
            wait_s = FIRST_WAIT_S if _now() - began > STEADY_S else min(2 * wait_s, LONGEST_WAIT_S)
            self._restarts[str(number),] = self._restarts.get((str(number),), 0.0) + 1
            self._say(
                f"worker {number} ended with {_named(status)}; another is started in {wait_s:g} s"
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    def _ended(self, status: int, *, ready: bool) -> bool:
        """Whether a place stays empty after its worker has ended."""
        if self._stopping.is_set():
            self.status = self.status or (1 if status and ready else 0)
            return True
        if not self._opened.is_set():
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

    async def _lived(self, number: int) -> tuple[int, bool]:
        """The life of one worker: its exit status, and whether it served."""
        try:
            worker = await self._started(number)
        except OSError as error:
            self._say(f"worker {number} could not be started: {error.strerror or error}")
            return 1, False
        self._workers[number] = worker
        if self._stopping.is_set():
            worker.drain()
        try:
            while (message := await worker.line.receive()) is not None:
                self._heard(worker, message)
            return await worker.process.wait(), worker.ready
        finally:
            worker.line.close()
            worker.kill()
            del self._workers[number]
            self._sums.ended(str(number))

    async def _started(self, number: int) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs, bound(*self._address, together=True) as listening:
            inherited = (theirs.fileno(), listening.fileno())
            # In a session of its own: a signal from the terminal is for the supervisor, who tells the workers once.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gatewayz", "worker", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=inherited,
                start_new_session=True,
            )
        line = await line_over(ours, FromWorker)
        speaks = number == 1 and not self._opened.is_set()
        line.put(
            Start(
                loaded=self._found,
                worker=number,
                workers=self._count,
                listening=inherited[1],
                speaks=speaks,
            )
        )
        return Worker(number, process, line)

    def _heard(self, worker: Worker, message: FromWorker) -> None:
        match message:
            case Ready():
                worker.ready = True
                self._opened.set()
                if self._stopping.is_set():
                    worker.drain()
            case Counted(counts=counts):
                self._sums.told(str(worker.number), counts)
                worker.answered.set()
            case Asked(counts=counts):
                self._sums.told(str(worker.number), counts)
                if worker.answer is None or worker.answer.done():
                    worker.answer = asyncio.create_task(self._answered(worker))

    async def _answered(self, asker: Worker) -> None:
        """Tells one worker what all have counted; one that does not answer is not waited for long."""
        others = [
            worker for worker in self._workers.values() if worker.ready and worker is not asker
        ]
        for worker in others:
            worker.answered.clear()
            worker.line.put(Tell())
        waits = [asyncio.create_task(worker.answered.wait()) for worker in others]
        _, late = await asyncio.wait(waits, timeout=ANSWER_S) if waits else (set(), set())
        for wait in late:
            wait.cancel()
        answered = {asker.number, *(worker.number for worker in others if worker.answered.is_set())}
        asker.line.put(Sum(self._total(answered)))

    def _total(self, answered: set[int]) -> Counts:
        total = added(
            self._sums.total(), Counts(counters={"gatewayz_worker_restarts": self._restarts})
        )
        places = range(1, self._count + 1)
        up: dict[Labels, float] = {(str(place),): float(place in answered) for place in places}
        return Counts(
            total.counters,
            total.histograms,
            {**total.gauges, "gatewayz_worker_up": up},
            total.levels,
        )

    def _say(self, message: str) -> None:
        if self._log is not None:
            self._log.take([Warned(subject="workers", message=message)])


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _named(status: int) -> str:
    """An exit status in words; a negative one is a signal."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def supervise(found: Loaded, address: tuple[str, int]) -> int:
    """Serves with several workers; returns the exit status."""

    async def run() -> int:
        async with AsyncExitStack() as stack:
            log = opened_log(found.settings.observe.log, stack, shared=True)
            return await Supervisor(found, address, log).run()

    return asyncio.run(run())
