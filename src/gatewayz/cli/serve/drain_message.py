"""What a gateway that is told to stop says to people."""

import sys


def print_stopping(grace_s: float, running: int | None) -> None:
    """Says what a stopping gateway waits for: how many calls, if it knows, and for how long."""
    if running == 0:
        print("gatewayz: stopping.", file=sys.stderr, flush=True)
        return
    calls = "running calls" if running is None else f"{running} running call{'s'[: running > 1]}"
    print(
        f"gatewayz: stopping; {calls} may end within {grace_s:g} s. A second Ctrl-C ends them now.",
        file=sys.stderr,
        flush=True,
    )
