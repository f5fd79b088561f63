"""The port `Keys` over the store: keys that were used are known in memory, and what changes is heard of in a second.

Law: a key that was revoked, or whose account was suspended, is refused within two seconds by every process that can
reach the store. Without the store, keys that are known go on for 15 minutes; about others nobody can tell.
"""

import asyncio
from collections.abc import Iterable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from gatewayz.core.access import HOUSE, SCOPES
from gatewayz.core.calls import Principal
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.keys import masked
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import Pepper, Peppers
from gatewayz.store.sql.database import RETRY_S, Database
from gatewayz.store.sql.principals import Kept, by_digest, by_id
from gatewayz.store.sql.repeppering import repeppered
from gatewayz.store.sql.revising import KEYS, number_of

LOOK_EVERY_S = 1.0
LOOK_S = 0.9
"""How long one look at the revision may take; what takes longer counts as a store that is away."""
REFRESH_S = 20.0
FRESH_S = 30.0
"""A key that is used is read anew after `REFRESH_S` by the way, after `FRESH_S` by whoever uses it."""
STALE_S = 900.0
"""How long a key is believed that cannot be read anew."""
UNKNOWN_S = 5.0
ANSWER_S = 3.0
"""How long a caller with a key that is not known waits for the store."""
MAX_KNOWN = 100_000
MAX_UNKNOWN = 20_000
MAX_WAITING = 5_000
MAX_BATCH = 200


class Known:
    """A key that was used: what it may do, when that was read, and whether it was used since."""

    __slots__ = ("digest", "expires_ms", "key_id", "principal", "read_at", "used")

    def __init__(self, kept: Kept, read_at: float) -> None:
        self.key_id = kept.key_id
        self.digest = kept.digest
        self.principal = kept.principal
        self.expires_ms = kept.expires_ms
        self.read_at = read_at
        self.used = True


class SqlKeys:
    """`look` is to be called once a second, by `start` or by a test."""

    def __init__(
        self, database: Database, peppers: Peppers, clock: Clock, bootstrap: Secret
    ) -> None:
        self._database = database
        self._peppers = peppers
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._unknown: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[Principal | None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._number = -1
        self._reached = True
        self._bootstrap: dict[str, Principal] = {}
        if bootstrap:
            self._bootstrap[bootstrap.reveal()] = Principal(HOUSE, "bootstrap", frozenset(SCOPES))

    async def start(self) -> None:
        """Looks at the store once, then again and again. Faults: `unavailable`."""
        async with self._database.begin(reading=True) as connection:
            self._number = await number_of(connection, KEYS)
        self._looking = asyncio.create_task(self._looks())

    async def close(self) -> None:
        for task in (self._looking, self._reading):
            if task is not None:
                task.cancel()
        await asyncio.gather(
            *(task for task in (self._looking, self._reading) if task), return_exceptions=True
        )

    async def principal(self, key: str) -> Principal:
        """Who owns `key`; for a key in use an answer out of memory."""
        known = self._known.get(key)
        if known is not None:
            age_s = self._clock.now() - known.read_at
            if age_s < FRESH_S or (not self._reached and age_s < STALE_S):
                return self._unless_ended(key, known)
        return self._bootstrap.get(key) or await self._asked(key)

    async def _asked(self, key: str) -> Principal:
        """Who the store says owns the key. Faults: `unauthenticated`, `unavailable`."""
        until = self._unknown.get(key)
        if until is not None and self._clock.now() < until:
            raise _refused(key)
        future = self._waiting.get(key)
        if future is None:
            if len(self._waiting) >= MAX_WAITING:
                raise Fault(
                    "unavailable",
                    "Too many unknown keys wait for the store.",
                    retry_after_s=RETRY_S,
                )
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_waiting())
        try:
            found = await asyncio.wait_for(asyncio.shield(future), ANSWER_S)
        except TimeoutError:
            self._reached = False
            found = self._stale(key)
        if found is None:
            raise _refused(key)
        return found

    def _stale(self, key: str) -> Principal:
        """What was known of the key, when the store does not answer. Faults: `unavailable`, `unauthenticated`."""
        known = self._known.get(key)
        if known is None or self._clock.now() - known.read_at >= STALE_S:
            raise Fault(
                "unavailable",
                "The store does not answer, and this key is not known.",
                retry_after_s=RETRY_S,
            )
        return self._unless_ended(key, known)

    def _unless_ended(self, key: str, known: Known) -> Principal:
        if known.expires_ms is not None and known.expires_ms <= self._clock.wall_ms():
            raise _refused(key)
        known.used = True
        return known.principal

    async def _read_waiting(self) -> None:
        """Reads all keys that wait, many in one statement, until none waits."""
        while self._waiting:
            keys = list(self._waiting)[:MAX_BATCH]
            try:
                kept, number = await self._kept_of(keys)
            except Fault as fault:
                self._answer_without_store(keys, fault)
                continue
            if number < self._number:
                # Somebody changed keys while this was read: what was read may be what was changed.
                continue
            self._learn(keys, kept)

    async def _kept_of(self, keys: Sequence[str]) -> tuple[dict[str, Kept], int]:
        owners = {pepper.digest(key): (key, pepper) for key in keys for pepper in self._peppers.all}
        async with self._database.begin(reading=True) as connection:
            number = await number_of(connection, KEYS)
            found = await by_digest(connection, list(owners))
        await self._renewed((owners[kept.digest], kept) for kept in found)
        return {owners[kept.digest][0]: kept for kept in found}, number

    async def _renewed(self, found: "Iterable[tuple[tuple[str, Pepper], Kept]]") -> None:
        """Keys that were made with an older secret are kept under the current one from now on."""
        current = self._peppers.current
        old = [
            (kept, current.digest(key)) for (key, pepper), kept in found if pepper.id != current.id
        ]
        if old:
            await repeppered(self._database, current, old)

    def _learn(self, keys: Sequence[str], kept: dict[str, Kept]) -> None:
        now = self._clock.now()
        self._make_room()
        for key in keys:
            future, found = self._waiting.pop(key), kept.get(key)
            if found is None or _expired(found, self._clock.wall_ms()):
                self._known.pop(key, None)
                self._unknown[key] = now + UNKNOWN_S
                _tell(future, None)
            else:
                self._unknown.pop(key, None)
                self._known[key] = Known(found, now)
                _tell(future, found.principal)

    def _answer_without_store(self, keys: Sequence[str], fault: Fault) -> None:
        self._reached = False
        for key in keys:
            future = self._waiting.pop(key)
            try:
                _tell(future, self._stale(key))
            except Fault as refused:
                if not future.done():
                    future.set_exception(fault if refused.kind == "unavailable" else refused)
                    # A caller that has left asks no more; the loop need not warn of that.
                    future.exception()

    def _make_room(self) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        if len(self._unknown) >= MAX_UNKNOWN:
            self._unknown.clear()

    async def _looks(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Whether anything has changed; if so, every known key is read anew, else those that are due."""
        try:
            async with asyncio.timeout(LOOK_S), self._database.begin(reading=True) as connection:
                number = await number_of(connection, KEYS)
            changed, now = number != self._number, self._clock.now()
            if changed:
                self._unknown.clear()
            # From here on, whatever was read before the change is not believed.
            self._number = number
            due = [
                (key, known)
                for key, known in self._known.items()
                if changed or (known.used and now - known.read_at >= REFRESH_S)
            ]
            for start in range(0, len(due), MAX_BATCH):
                await self._refreshed(due[start : start + MAX_BATCH])
        except (Fault, TimeoutError, SQLAlchemyError):
            # Not reached: what is known holds for a while, and the change is heard of when the store is back.
            self._reached, self._number = False, -1
            return
        self._reached = True
        self._forget(self._clock.now())

    async def _refreshed(self, due: Sequence[tuple[str, Known]]) -> None:
        async with asyncio.timeout(LOOK_S), self._database.begin(reading=True) as connection:
            kept = {
                one.key_id: one
                for one in await by_id(connection, [known.key_id for _, known in due])
            }
        now = self._clock.now()
        for key, known in due:
            found = kept.get(known.key_id)
            if found is None:
                self._known.pop(key, None)
                continue
            known.principal, known.expires_ms, known.read_at, known.used = (
                found.principal,
                found.expires_ms,
                now,
                False,
            )

    def _forget(self, now: float) -> None:
        """Keys that nobody has used for long: they would have to be read anew anyway."""
        for key in [key for key, known in self._known.items() if now - known.read_at >= STALE_S]:
            del self._known[key]


def _tell(future: "asyncio.Future[Principal | None]", found: Principal | None) -> None:
    if not future.done():
        future.set_result(found)


def _expired(kept: Kept, now_ms: int) -> bool:
    return kept.expires_ms is not None and kept.expires_ms <= now_ms


def _refused(key: str) -> Fault:
    return Fault(
        "unauthenticated",
        f"Incorrect API key provided: {masked(key)} is unknown, expired or revoked.",
    )
