"""Who runs a command, for the audit log."""

import getpass


def command_actor() -> str:
    """`cli:NAME`, the user as the machine knows them; `cli:unknown` where it does not."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli:unknown"
