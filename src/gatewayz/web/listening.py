"""The listening address: taken before anything else starts."""

import socket

BACKLOG = 4_096


def bound(host: str, port: int, *, together: bool = False) -> socket.socket:
    """An address to listen on; `together`: other processes of the gateway have it too. Raises `OSError`.

    Of several listeners the kernel gives each its share of the connections. One socket for all would not do that: the
    first worker to wake takes what waits, and keeps it by keep-alive.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if together:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((host, port))
    except OSError:
        taken.close()
        raise
    taken.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return taken
