"""The socket that the server listens on, before anything else starts."""

import errno
import socket

BACKLOG = 4_096
ADVICE = {
    errno.EADDRINUSE: "Stop what is there, or choose another: --port, PORT=… make run.",
    errno.EACCES: "Ports below 1024 are for root: choose another with --port.",
}
"""Why a socket cannot listen → what to do about it."""
OTHER_ADDRESS = "It is no address of this machine: choose another with --host; 0.0.0.0 are all."


def listening_advice(error: OSError) -> str:
    """What to do about an address that `bind_socket` did not get."""
    return ADVICE.get(error.errno or 0, OTHER_ADDRESS)


def bind_socket(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A socket that listens, or with `reuse_port` is bound where other workers bind too: each of
    them listens when it is ready. Raises `OSError`.

    Two starts may bind the same address; only one of them gets to listen, and knows so here.

    The kernel then gives each worker its share of the connections. One socket for all would not do
    that: the first worker to wake takes what waits, and keeps it by keep-alive.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off for accepted sockets; without,
    # each answer on a connection that is used again waits 40 ms for the client's delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        if not reuse_port:
            listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener
