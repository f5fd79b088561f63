"""The vault: what may only be read by this installation, encrypted for one row of one account.

AES-256-GCM under a key derived from the installation's secret. The table, the row and the account are authenticated,
so that nothing can be read in another place than where it was kept. Older secrets still open what they closed.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatewayz.core.faults import Fault
from gatewayz.store.secret import Pepper, Peppers

NONCE_BYTES = 12
SEPARATOR = b"."


class Vault:
    """Closes and opens texts of one table."""

    def __init__(self, found: Peppers, table: str) -> None:
        self._table = table
        self._current = found.current.id
        self._ciphers = {pepper.id: _cipher(pepper, table) for pepper in found.all}

    def closed(self, plain: bytes, row: str, account: str) -> bytes:
        """The id of the secret, a new nonce, and the text that only the same place opens."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, plain, self._place(row, account))
        return self._current.encode() + SEPARATOR + nonce + sealed

    def opened(self, closed: bytes, row: str, account: str) -> bytes:
        """What was closed for this place. Faults: `replay_unavailable` when its secret is gone or it was changed."""
        name, _, rest = closed.partition(SEPARATOR)
        cipher = self._ciphers.get(name.decode("latin-1"))
        try:
            if cipher is not None:
                return cipher.decrypt(
                    rest[:NONCE_BYTES], rest[NONCE_BYTES:], self._place(row, account)
                )
        except InvalidTag:
            pass
        raise Fault(
            "replay_unavailable",
            "What was kept cannot be read any more; use a new Idempotency-Key.",
        )

    def _place(self, row: str, account: str) -> bytes:
        return f"{self._table}|{row}|{account}".encode()


def _cipher(pepper: Pepper, table: str) -> AESGCM:
    return AESGCM(pepper.derived(f"vault {table}"))
