"""The format of API keys: `gw_live_` or `gw_test_`, 43 base62 characters, and 6 base62 of CRC-32
over all before.

256 random bits cannot be guessed; the check digits refuse a fake without a look-up, and let
scanners find leaks.

Example: `gw_live_` + `J8zY…` (43) + `0aZ3kQ`; shown as `gw_live_J8zY…Z3kQ`.
"""

import hashlib
import hmac
import re
import zlib

PREFIXES = ("gw_live_", "gw_test_")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_BYTES = 32
BODY_LENGTH, CHECK_LENGTH = 43, 6
KEY_PATTERN = re.compile(r"gw_(live|test)_[0-9A-Za-z]{49}")
MASK_FIRST, MASK_LAST = 12, 4


def key_from_random(random: bytes, prefix: str = PREFIXES[0]) -> str:
    """The key that these 32 random bytes make."""
    body = prefix + _base62(int.from_bytes(random), BODY_LENGTH)
    return body + _check_digits(body)


def is_well_formed(key: str) -> bool:
    """Whether the text is a key of ours, check digits included."""
    return (
        KEY_PATTERN.fullmatch(key) is not None
        and _check_digits(key[:-CHECK_LENGTH]) == key[-CHECK_LENGTH:]
    )


def mask_key(key: str) -> str:
    """What may be shown of a key: its first 12 and its last 4 characters."""
    return f"{key[:MASK_FIRST]}…{key[-MASK_LAST:]}"


def key_digest(key: str, pepper: bytes) -> str:
    """What is stored of a key: HMAC-SHA256 under the installation's pepper, in hexadecimal."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()


def _check_digits(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
