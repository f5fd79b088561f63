"""Renamed words: what rows and settings files of an older version say, and the word of today.

Rows are never rewritten for a new word: they are read in both spellings and written in the new one.
A settings file is not read in both: it is refused with a sentence that names the new setting.
"""

from collections.abc import Mapping

from msgspec import Struct


class Renamed(Struct, frozen=True):
    """`new` is the word since the version `since`; rows written before it say `old`.

    Example: Renamed("other_request", "idempotency_mismatch", since="0.2.0")
    """

    old: str
    new: str
    since: str


FAULT_CODES = (
    Renamed("other_request", "idempotency_mismatch", since="0.2.0"),
    Renamed("set_in_file", "config_locked", since="0.2.0"),
    # Only in rows: a request for a path that does not exist is not recorded as a call, so there
    # the old word always meant a missing thing. The fault `unknown_route` itself goes on to exist.
    Renamed("unknown_route", "not_found", since="0.2.0"),
)
"""Kinds of faults, in `calls.fault` and `attempts.fault`."""

LIMITS = (Renamed("page_rpm", "api_rpm", since="0.2.0"),)
"""Limits by name, in `accounts.rules` and `api_keys.limits`."""

SETTINGS = (
    Renamed("limits.page_rpm", "limits.api_rpm", since="0.2.0"),
    Renamed("notices", "notifications", since="0.2.0"),
)
"""Settings by their dotted path."""

_NEW_CODES = {renamed.old: renamed.new for renamed in FAULT_CODES}
_NEW_LIMITS = {renamed.old: renamed.new for renamed in LIMITS}


def current_fault_code(stored: str) -> str:
    """The kind of fault that a row means by what it says."""
    return _NEW_CODES.get(stored, stored)


def fault_code_spellings(code: str) -> tuple[str, ...]:
    """Every spelling under which rows hold a kind of fault; either spelling may be asked for."""
    new = current_fault_code(code)
    return (new, *(renamed.old for renamed in FAULT_CODES if renamed.new == new))


def current_limits(stored: Mapping[str, int]) -> dict[str, int]:
    """Limits as a row has them, under today's names. Where a row has both, the new one holds."""
    renamed = {new: stored[old] for old, new in _NEW_LIMITS.items() if old in stored}
    return renamed | {name: number for name, number in stored.items() if name not in _NEW_LIMITS}


def find_renamed_setting(path: str) -> Renamed | None:
    """What became of a setting that an older version knew; `None` for one that never was."""
    return next((renamed for renamed in SETTINGS if renamed.old == path), None)
