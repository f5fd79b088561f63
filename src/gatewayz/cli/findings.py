"""What `gatewayz doctor` finds."""

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One thing looked at. `bad` means that something will not work."""

    level: Literal["ok", "note", "bad"]
    subject: str
    says: str
