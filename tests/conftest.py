"""What the run says about tests that it leaves out."""


def pytest_deselected(items):
    """A test that is left out is named with its reason."""
    for item in items:
        mark = item.get_closest_marker("long")
        if mark is not None:
            reason = mark.kwargs.get("reason", "takes minutes; run it with `make test-long`")
            item.config.get_terminal_writer().line(f"left out: {item.nodeid}: {reason}")
