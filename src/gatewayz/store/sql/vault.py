"""The vault: what may only be read by this installation, encrypted for one row of one account.

AES-256-GCM under a key derived from the installation's secret. The table, the row and the account
are authenticated, so that nothing can be read in another place than where it was stored. Older
secrets still decrypt what was encrypted under them.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatewayz.store.secret import Pepper, Peppers

NONCE_BYTES = 12
SEPARATOR = b"."


class Vault:
    """Encrypts and decrypts texts of one table, whose name is part of the key for ever."""

    def __init__(self, peppers: Peppers, table: str) -> None:
        self._table = table
        self._current = peppers.current.id
        self._ciphers = {pepper.id: _cipher(pepper, table) for pepper in peppers.all}

    def encrypt(self, plain: bytes, row: str, account: str) -> bytes:
        """The id of the secret, a new nonce, and what only this row of this account decrypts."""
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._ciphers[self._current]
        encrypted = cipher.encrypt(nonce, plain, self._cipher_context(row, account))
        return self._current.encode() + SEPARATOR + nonce + encrypted

    def decrypt(self, stored: bytes, row: str, account: str) -> bytes | None:
        """What was encrypted for this row; `None` when its secret is gone or it was changed."""
        name, _, rest = stored.partition(SEPARATOR)
        cipher = self._ciphers.get(name.decode("latin-1"))
        if cipher is None:
            return None
        nonce, encrypted = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, encrypted, self._cipher_context(row, account))
        except InvalidTag:
            return None

    def _cipher_context(self, row: str, account: str) -> bytes:
        return f"{self._table}|{row}|{account}".encode()


def _cipher(pepper: Pepper, table: str) -> AESGCM:
    return AESGCM(pepper.derive_key(f"vault {table}"))
