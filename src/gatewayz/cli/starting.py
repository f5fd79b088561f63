"""`gatewayz serve`: takes the port, then serves alone or with workers."""

from collections.abc import Mapping
from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.settings import loaded
from gatewayz.web.listening import bound


def serve(config: str, flags: Mapping[str, Any]) -> int:
    """Serves until it is told to stop; returns the exit status. Faults: `bad_request`, `unavailable`."""
    found = loaded(config, flags)
    web = found.settings.web
    try:
        listening = bound(web.host, web.port)
    except OSError as error:
        why = f"{web.host}:{web.port} cannot be listened on: {error.strerror or error}."
        raise Fault(
            "unavailable", f"{why} Stop what is there, or choose another: --port, PORT=… make run."
        ) from None
    if web.workers > 1:
        from gatewayz.cli.supervising import supervise

        # It was free; the workers take it, each with a socket of its own.
        address = listening.getsockname()[:2]
        listening.close()
        return supervise(found, address)
    from gatewayz.cli.serving import serve_alone

    return serve_alone(found, listening)
