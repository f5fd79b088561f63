"""The key cache: the port `Keys` over the store, in memory for keys that are used.

Law: a key that was revoked, or whose account was suspended, is refused within two seconds by every
process that can reach the store. Without the store, keys that are known go on for 15 minutes; about
others nobody can tell.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from gatewayz.control.auth.principals import ActiveKey, active_keys_by_digest, active_keys_by_id
from gatewayz.control.auth.rehash import rehash_keys
from gatewayz.core.access import HOUSE, SCOPES
from gatewayz.core.calls import Principal
from gatewayz.core.clock import Clock
from gatewayz.core.facts import Fact
from gatewayz.core.faults import Fault
from gatewayz.core.keys import mask_key
from gatewayz.core.secrets import Secret
from gatewayz.engine.background import WorkerTasks
from gatewayz.store.secret import Pepper, Peppers
from gatewayz.store.sql.database import STORE_RETRY_S, Database
from gatewayz.store.sql.revisions import KEYS, get_revision

POLL_EVERY_S = 1.0
POLL_TIMEOUT_S = 0.9
"""How long a look at the revision may take; beyond it the store counts as away."""
REFRESH_S = 20.0
FRESH_S = 30.0
"""A key in use is read anew after `REFRESH_S` by the poll, after `FRESH_S` by whoever uses it."""
STALE_S = 900.0
"""How long a key is believed that cannot be read anew."""
UNKNOWN_S = 5.0
"""How long a key that the store does not know is refused without asking again."""
LOAD_TIMEOUT_S = 3.0
"""How long a caller with a key that is not in memory waits for the store."""
MAX_KNOWN = 100_000
MAX_UNKNOWN = 20_000
MAX_WAITING = 5_000
MAX_BATCH = 200
"""Keys that one statement reads."""


class CachedKey:
    """A key that was used: what it may do, when that was read, and whether it was used since."""

    __slots__ = ("digest", "expires_ms", "key_id", "principal", "read_at", "used")

    def __init__(self, key: ActiveKey, read_at: float) -> None:
        self.key_id = key.key_id
        self.digest = key.digest
        self.principal = key.principal
        self.expires_ms = key.expires_ms
        self.read_at = read_at
        self.used = True


class KeyCache:
    """The port `Keys`. `bootstrap` is a key of the settings, which is in no store.

    `start` polls once a second; a test that does not start it calls `poll` itself.
    """

    def __init__(
        self,
        database: Database,
        peppers: Peppers,
        clock: Clock,
        bootstrap: Secret,
        emit: Callable[[Fact], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._peppers = peppers
        self._clock = clock
        self._known: dict[str, CachedKey] = {}
        self._unknown: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[Principal | None]] = {}
        self._loader: asyncio.Task[None] | None = None
        self.tasks = WorkerTasks(emit)
        self._revision = -1
        self._store_reachable = True
        self._bootstrap: dict[str, Principal] = {}
        if bootstrap:
            self._bootstrap[bootstrap.reveal()] = Principal(HOUSE, "bootstrap", frozenset(SCOPES))

    async def start(self) -> None:
        """Reads the revision once, then polls it. Faults: `unavailable`."""
        async with self._database.begin(reading=True) as connection:
            self._revision = await get_revision(connection, KEYS)
        self.tasks.repeat("keys", self.poll, POLL_EVERY_S)

    async def close(self) -> None:
        await self.tasks.stop()
        if self._loader is not None:
            self._loader.cancel()
            await asyncio.gather(self._loader, return_exceptions=True)

    async def principal(self, key: str) -> Principal:
        """Who owns `key`; for a key in use an answer out of memory."""
        known = self._known.get(key)
        if known is not None:
            age_s = self._clock.now() - known.read_at
            if age_s < FRESH_S or (not self._store_reachable and age_s < STALE_S):
                return self._principal_unless_expired(key, known)
        return self._bootstrap.get(key) or await self._load(key)

    async def _load(self, key: str) -> Principal:
        """Who the store says owns the key. Faults: `unauthenticated`, `unavailable`."""
        until = self._unknown.get(key)
        if until is not None and self._clock.now() < until:
            raise _invalid_key(key)

        future = self._waiting.get(key)
        if future is None:
            if len(self._waiting) >= MAX_WAITING:
                raise Fault(
                    "unavailable",
                    "Too many unknown keys wait for the store.",
                    retry_after_s=STORE_RETRY_S,
                )
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._loader is None or self._loader.done():
            self._loader = asyncio.create_task(self._load_waiting())

        try:
            # Shielded: others wait for the same key, and one that gives up must not cancel it.
            principal = await asyncio.wait_for(asyncio.shield(future), LOAD_TIMEOUT_S)
        except TimeoutError:
            self._store_reachable = False
            principal = self._stale_principal(key)
        if principal is None:
            raise _invalid_key(key)
        return principal

    def _stale_principal(self, key: str) -> Principal:
        """What was known of the key, when the store does not answer.

        Faults: `unavailable`, `unauthenticated`.
        """
        known = self._known.get(key)
        if known is None or self._clock.now() - known.read_at >= STALE_S:
            raise Fault(
                "unavailable",
                "The store does not answer, and this key is not known.",
                retry_after_s=STORE_RETRY_S,
            )
        return self._principal_unless_expired(key, known)

    def _principal_unless_expired(self, key: str, known: CachedKey) -> Principal:
        if known.expires_ms is not None and known.expires_ms <= self._clock.wall_ms():
            raise _invalid_key(key)
        known.used = True
        return known.principal

    async def _load_waiting(self) -> None:
        """Reads all keys that wait, many in one statement, until none waits."""
        while self._waiting:
            texts = list(self._waiting)[:MAX_BATCH]
            try:
                keys, revision = await self._query_keys(texts)
            except Fault as fault:
                self._answer_without_store(texts, fault)
                continue
            except Exception as error:  # noqa: BLE001 - whoever waits for a key hears of it
                why = Fault(
                    "unavailable",
                    "The keys cannot be read now.",
                    detail=repr(error),
                    retry_after_s=STORE_RETRY_S,
                )
                self._answer_without_store(texts, why)
                continue
            if revision < self._revision:
                # Somebody changed keys meanwhile: what was read may be what was changed.
                continue
            self._store_results(texts, keys)

    async def _query_keys(self, texts: Sequence[str]) -> tuple[dict[str, ActiveKey], int]:
        """The keys that work, by their text, and the revision that they were read at."""
        # A key may have been made with any of the secrets, so it is looked up under each.
        by_digest = {
            pepper.digest(text): (text, pepper) for text in texts for pepper in self._peppers.all
        }
        async with self._database.begin(reading=True) as connection:
            revision = await get_revision(connection, KEYS)
            keys = await active_keys_by_digest(connection, list(by_digest))
        await self._rehash_old((*by_digest[key.digest], key) for key in keys)
        return {by_digest[key.digest][0]: key for key in keys}, revision

    async def _rehash_old(self, keys: Iterable[tuple[str, Pepper, ActiveKey]]) -> None:
        """Keys made with an older secret are stored under the current one from now on."""
        current = self._peppers.current
        digests = [
            (key, current.digest(text)) for text, pepper, key in keys if pepper.id != current.id
        ]
        if digests:
            await rehash_keys(self._database, current, digests)

    def _store_results(self, texts: Sequence[str], keys: dict[str, ActiveKey]) -> None:
        now, now_ms = self._clock.now(), self._clock.wall_ms()
        self._evict()
        for text in texts:
            future, key = self._waiting.pop(text), keys.get(text)
            if key is None or _is_expired(key, now_ms):
                self._known.pop(text, None)
                self._unknown[text] = now + UNKNOWN_S
                _resolve(future, None)
            else:
                self._unknown.pop(text, None)
                self._known[text] = CachedKey(key, now)
                _resolve(future, key.principal)

    def _answer_without_store(self, texts: Sequence[str], fault: Fault) -> None:
        self._store_reachable = False
        for text in texts:
            future = self._waiting.pop(text)
            try:
                _resolve(future, self._stale_principal(text))
            except Fault as refused:
                if not future.done():
                    future.set_exception(fault if refused.kind == "unavailable" else refused)
                    # A caller that has left asks no more; the loop need not warn of that.
                    future.exception()

    def _evict(self) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        if len(self._unknown) >= MAX_UNKNOWN:
            self._unknown.clear()

    async def poll(self) -> None:
        """Looks whether anything has changed: then all known keys are read anew, else those due."""
        is_read = False
        try:
            async with (
                asyncio.timeout(POLL_TIMEOUT_S),
                self._database.begin(reading=True) as connection,
            ):
                revision = await get_revision(connection, KEYS)
            changed, now = revision != self._revision, self._clock.now()
            if changed:
                self._unknown.clear()
            # From here on, whatever was read before the change is not believed.
            self._revision = revision

            due = [
                (text, known)
                for text, known in self._known.items()
                if changed or (known.used and now - known.read_at >= REFRESH_S)
            ]
            for start in range(0, len(due), MAX_BATCH):
                await self._reload(due[start : start + MAX_BATCH])
            is_read = True
        except (Fault, TimeoutError, SQLAlchemyError):
            return
        finally:
            # Not reached: what is known holds for a while. Without a revision, the next look that
            # reaches the store reads every key anew.
            self._store_reachable = is_read
            if not is_read:
                self._revision = -1
        self._drop_stale(self._clock.now())

    async def _reload(self, due: Sequence[tuple[str, CachedKey]]) -> None:
        ids = [known.key_id for _, known in due]
        async with (
            asyncio.timeout(POLL_TIMEOUT_S),
            self._database.begin(reading=True) as connection,
        ):
            keys = {key.key_id: key for key in await active_keys_by_id(connection, ids)}

        now = self._clock.now()
        for text, known in due:
            key = keys.get(known.key_id)
            if key is None:
                self._known.pop(text, None)
                continue
            known.principal = key.principal
            known.expires_ms = key.expires_ms
            known.read_at = now
            known.used = False

    def _drop_stale(self, now: float) -> None:
        """Drops keys that nobody has used for long: they would have to be read anew anyway."""
        stale = [text for text, known in self._known.items() if now - known.read_at >= STALE_S]
        for text in stale:
            del self._known[text]


def _resolve(future: "asyncio.Future[Principal | None]", principal: Principal | None) -> None:
    if not future.done():
        future.set_result(principal)


def _is_expired(key: ActiveKey, now_ms: int) -> bool:
    return key.expires_ms is not None and key.expires_ms <= now_ms


def _invalid_key(key: str) -> Fault:
    return Fault(
        "unauthenticated",
        f"Incorrect API key provided: {mask_key(key)} is unknown, expired or revoked.",
    )
