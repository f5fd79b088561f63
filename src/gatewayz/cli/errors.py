"""What ends a command: every error that its user can act on is a sentence, said in one place.

A fault has its sentence already. What the operating system and the codecs raise gets one here: the
file or address that it is about, what is wrong, what to do. Anything else is a mistake of ours, and
its traceback is worth having.
"""

import errno
from io import UnsupportedOperation

from gatewayz.core.faults import Fault

NO_ACCESS = "run as the user that owns it, or choose another place (data_dir, --data-dir)"
ADVICE = {
    errno.EACCES: NO_ACCESS,
    errno.EPERM: NO_ACCESS,
    errno.EROFS: "choose a place that can be written (data_dir, --data-dir)",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file is where a folder should be; choose another place",
    errno.EISDIR: "a folder is where a file should be; choose another path",
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space of this user's quota",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise this machine's limit of open files",
    errno.EADDRINUSE: "stop what listens there, or choose another address",
    errno.EADDRNOTAVAIL: "choose an address of this machine",
    errno.ECONNREFUSED: "start what should listen there, or correct the address",
}
"""Error number → what to do about it."""


def error_sentence(error: BaseException) -> str | None:
    """What to tell the user of a command that ended so; nothing for what is no affair of theirs."""
    match error:
        case Fault():
            return error.operator_message
        case UnicodeError():
            return f"{_unicode_text(error)}; write it as UTF-8."
        case UnsupportedOperation():
            return None
        case OSError():
            return _os_text(error)
    return None


def _unicode_text(error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return f"A text cannot be written as {getattr(error, 'encoding', 'text')}"
    # Not the text around it: whatever it is, it may hold a secret.
    byte, before = error.object[error.start], error.object[: error.start]
    line = before.count(b"\n") + 1
    return f"What was read is not UTF-8: byte 0x{byte:02x} in line {line}"


def _os_text(error: OSError) -> str:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    subject = f"{' → '.join(names)}: " if names else ""
    advice = ADVICE.get(error.errno or 0, "")
    return f"{subject}{what[:1].lower()}{what[1:]}{f'; {advice}' if advice else ''}."
