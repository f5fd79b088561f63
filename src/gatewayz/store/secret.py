"""The installation's secrets: the operator's, or made once, in the file `secret` of `data_dir`.

The first is the current one; older ones still verify what was made with them, so that a secret can
be changed while everything goes on. Each has an id that anybody may know.
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
from gatewayz.core.keys import key_digest
from gatewayz.core.secrets import Secret

FILE = "secret"
RANDOM_BYTES = 32
ID_LENGTH = 8


class Pepper(Struct, frozen=True, repr_omit_defaults=True):
    """One secret. `id` is made from it by a one-way function.

    What digests, keys and ids are made of never changes: they are in rows.
    """

    id: str
    secret: Secret

    def digest(self, key: str) -> str:
        """What is stored of an API key."""
        return key_digest(key, self.secret.reveal().encode())

    def derive_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, from which no other can be found."""
        return hmac.new(
            self.secret.reveal().encode(), f"gatewayz {purpose}".encode(), hashlib.sha256
        ).digest()


class Peppers:
    """All secrets of an installation, the current one first."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self.all = tuple(_pepper_from_secret(secret) for secret in dict.fromkeys(secrets))
        self._by_id = {pepper.id: pepper for pepper in self.all}

    @property
    def current(self) -> Pepper:
        return self.all[0]

    def get(self, pepper_id: str) -> Pepper | None:
        """The secret with this id; `None` if it is not known here."""
        return self._by_id.get(pepper_id)


def _pepper_from_secret(secret: Secret) -> Pepper:
    return Pepper(
        hashlib.sha256(b"gatewayz pepper " + secret.reveal().encode()).hexdigest()[:ID_LENGTH],
        secret,
    )


def has_secret(data_dir: Path, secret: Secret) -> bool:
    """Whether a secret is here already: set by the operator, or in the file."""
    return bool(secret) or (data_dir / FILE).exists()


def load_peppers(data_dir: Path, secret: Secret, older: Iterable[Secret] = ()) -> Peppers:
    """The secrets that hold here: the operator's, then those of the file, one a line, newest first.

    The file is made when there is nothing at all. Faults: `unavailable` when it cannot be used.
    """
    path = data_dir / FILE
    try:
        if not secret and not path.exists():
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            _create_file(path, secrets.token_hex(RANDOM_BYTES))
        in_file = path.read_text("ascii").split() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        hint = "run as the user that owns it, or set data_dir to a folder that can be used"
        raise Fault(
            "unavailable", f"The secret {path.absolute()} cannot be used: {why}; {hint}."
        ) from error

    peppers = Peppers([*([secret] if secret else []), *older, *map(Secret, in_file)])
    if not peppers.all:
        raise Fault(
            "unavailable", f"The secret {path} is empty; restore it, or set GATEWAYZ_SECRET_KEY."
        )
    return peppers


def _create_file(path: Path, content: str) -> None:
    """A whole file or none, and never another one over it.

    Of several processes that start at once, all use the first one's.
    """
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
