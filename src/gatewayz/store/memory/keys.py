"""Keys in a small file of the data directory: digests only, re-read when it changes, written whole and atomically.

A key that is revoked in the file stops working within two seconds in every process that reads it.
"""

import os
import secrets
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.calls import Principal, new_ulid
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, digest, key_from, masked
from gatewayz.core.secrets import Secret

LOOK_EVERY_S = 1.0
HOUSE = "house"
SCOPES = frozenset({"inference", "operator", "metrics"})
MAX_CACHED = 100_000
PEPPER_BYTES = 32


class KeyRecord(Struct, frozen=True, kw_only=True):
    """A key as it is kept: its digest, what may be shown of it, and what it may do."""

    id: str
    digest: str
    shown: str
    name: str = ""
    scopes: tuple[str, ...] = tuple(sorted(SCOPES))
    created_ms: int = 0
    revoked_ms: int = 0
    bootstrap: bool = False


class KeyFile:
    """The file and the pepper beside it. Faults: `unavailable` with what to do when it cannot be used."""

    def __init__(self, data_dir: Path, secret_key: Secret) -> None:
        self.path = data_dir / "keys.json"
        self._secret_path = data_dir / "secret"
        self._data_dir = data_dir
        self._secret_key = secret_key

    def pepper(self) -> bytes:
        """The secret that digests are made with: given by the operator, or made once and kept."""
        if self._secret_key:
            return self._secret_key.reveal().encode()
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._secret_path.exists():
                _written(self._secret_path, secrets.token_hex(PEPPER_BYTES).encode())
            return self._secret_path.read_bytes().strip()
        except OSError as error:
            raise self._unusable(error) from error

    def read(self) -> tuple[KeyRecord, ...]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=tuple[KeyRecord, ...])
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError) as error:
            raise self._unusable(error) from error

    def write(self, records: tuple[KeyRecord, ...]) -> None:
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            _written(self.path, msgspec.json.format(msgspec.json.encode(records)))
        except OSError as error:
            raise self._unusable(error) from error

    def changed_ns(self) -> int:
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def _unusable(self, error: Exception) -> Fault:
        return Fault(
            "unavailable", f"The keys in {self._data_dir} cannot be used: {error}. Set data_dir to a place that can."
        )

    def make(
        self, name: str, scopes: tuple[str, ...], now_ms: int, *, bootstrap: bool = False
    ) -> tuple[str, KeyRecord]:
        """A new key, which is shown now and never again. A new bootstrap key takes the place of the old one."""
        key = key_from(secrets.token_bytes(RANDOM_BYTES))
        record = KeyRecord(
            id=new_ulid(),
            digest=digest(key, self.pepper()),
            shown=masked(key),
            name=name,
            scopes=scopes,
            created_ms=now_ms,
            bootstrap=bootstrap,
        )
        kept = tuple(
            replace(old, revoked_ms=now_ms) if bootstrap and old.bootstrap and not old.revoked_ms else old
            for old in self.read()
        )
        self.write((*kept, record))
        return key, record

    def revoke(self, key_id: str, now_ms: int) -> bool:
        """Whether there was such a key to revoke."""
        records = self.read()
        if not any(record.id == key_id and not record.revoked_ms for record in records):
            return False
        self.write(tuple(replace(record, revoked_ms=now_ms) if record.id == key_id else record for record in records))
        return True


def _written(path: Path, content: bytes) -> None:
    """Writes a whole file or nothing: a new one beside it, flushed, renamed over it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class FileKeys:
    """The port `Keys` over the file, and over a bootstrap key from the environment."""

    def __init__(self, file: KeyFile, clock: Clock, bootstrap: Secret) -> None:
        self._file = file
        self._clock = clock
        self._pepper = file.pepper()
        self._looked_at = -LOOK_EVERY_S
        self._changed_ns = -1
        self._by_digest: dict[str, Principal] = {}
        self._digests: dict[str, str] = {}
        self._extra: dict[str, Principal] = {}
        if bootstrap:
            self._extra[digest(bootstrap.reveal(), self._pepper)] = _principal("bootstrap", tuple(SCOPES))

    async def principal(self, key: str) -> Principal:
        self._look()
        known = self._digests.get(key)
        if known is None:
            known = digest(key, self._pepper)
            if known in self._by_digest:
                if len(self._digests) >= MAX_CACHED:
                    self._digests.clear()
                self._digests[key] = known
        found = self._by_digest.get(known)
        if found is None:
            raise Fault("unauthenticated", f"Incorrect API key provided: {masked(key)} is unknown or revoked.")
        return found

    def _look(self) -> None:
        now = self._clock.now()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        changed_ns = self._file.changed_ns()
        if changed_ns == self._changed_ns:
            return
        self._changed_ns = changed_ns
        records = [record for record in self._file.read() if not record.revoked_ms]
        self._by_digest = {record.digest: _principal(record.id, record.scopes) for record in records} | self._extra


def _principal(key_id: str, scopes: tuple[str, ...]) -> Principal:
    return Principal(HOUSE, key_id, frozenset(scopes))
