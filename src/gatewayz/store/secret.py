"""The installation's secrets: given by the operator, or made once and kept in the file `secret` of the data directory.

The first is the current one; older ones still verify what was made with them, so that a secret can be changed while
everything goes on. Each has an id that can be told to anybody.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.keys import digest
from gatewayz.core.secrets import Secret

FILE = "secret"
RANDOM_BYTES = 32
ID_LENGTH = 8


class Pepper(Struct, frozen=True, repr_omit_defaults=True):
    """One secret. `id` is made from it by a one-way function."""

    id: str
    secret: Secret

    def digest(self, key: str) -> str:
        """What is stored of an API key."""
        return digest(key, self.secret.reveal().encode())

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, from which no other can be found."""
        return hmac.new(
            self.secret.reveal().encode(), f"gatewayz {purpose}".encode(), hashlib.sha256
        ).digest()


class Peppers:
    """All secrets of an installation, the current one first."""

    def __init__(self, found: Iterable[Secret]) -> None:
        self.all = tuple(_pepper(secret) for secret in dict.fromkeys(found))
        self._by_id = {pepper.id: pepper for pepper in self.all}

    @property
    def current(self) -> Pepper:
        return self.all[0]

    def named(self, pepper_id: str) -> Pepper | None:
        return self._by_id.get(pepper_id)


def _pepper(secret: Secret) -> Pepper:
    return Pepper(
        hashlib.sha256(b"gatewayz pepper " + secret.reveal().encode()).hexdigest()[:ID_LENGTH],
        secret,
    )


def peppers(data_dir: Path, given: Secret, older: Iterable[Secret] = ()) -> Peppers:
    """The secrets that hold here: the operator's, then those of the file, one a line, newest first.

    The file is made when there is nothing at all. Faults: `unavailable` when it cannot be used.
    """
    path = data_dir / FILE
    try:
        if not given and not path.exists():
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            _made(path, secrets.token_hex(RANDOM_BYTES))
        kept = path.read_text("ascii").split() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        why = f"The secret {path} cannot be used: {error}. Set data_dir to a place that can."
        raise Fault("unavailable", why) from error
    found = Peppers([*([given] if given else []), *older, *map(Secret, kept)])
    if not found.all:
        raise Fault(
            "unavailable", f"The secret {path} is empty; restore it, or set GATEWAYZ_SECRET_KEY."
        )
    return found


def _made(path: Path, content: str) -> None:
    """A whole file or none, and never another one over it: of several that start at once, all use the first one's."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
