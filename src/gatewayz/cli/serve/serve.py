"""`gatewayz serve`: takes the port, then serves in one process or with workers."""

import sys
from collections.abc import Mapping
from typing import Any

from gatewayz.cli.location import database_location
from gatewayz.cli.serve.lock import ServingLock
from gatewayz.core.faults import Fault
from gatewayz.settings import load_settings
from gatewayz.web.listener import bind_socket, listening_advice
from gatewayz.web.tls import open_listener_tls


def serve(config: str, flags: Mapping[str, Any]) -> int:
    """Serves until it is told to stop; the exit status. Faults: `bad_request`, `unavailable`."""
    loaded = load_settings(config, flags)
    web = loaded.settings.web
    for warning in loaded.warnings:
        print(f"gatewayz: {warning}.", file=sys.stderr)
    try:
        listener = bind_socket(web.host, web.port)
    except OSError as error:
        why = f"{web.host}:{web.port} cannot be listened on: {error.strerror or error}."
        raise Fault("unavailable", f"{why} {listening_advice(error)}") from None
    with listener:
        lock = ServingLock(database_location(loaded))
        lock.acquire()
        if web.workers > 1:
            # Said once and here, and not by each worker at each of its starts.
            loaded.open_network()
            open_listener_tls(web.tls, lambda _: None)
            from gatewayz.cli.serve.supervisor import supervise

            # The port was free; the workers take it, each with a socket of its own.
            address = listener.getsockname()[:2]
            listener.close()
            return supervise(loaded, address, lock)

        from gatewayz.cli.serve.process import serve_single_process

        return serve_single_process(loaded, listener, lock)
