"""`gatewayz settings`: the settings that hold, their reference, their schema."""

from gatewayz.settings import load_settings
from gatewayz.settings_reference import (
    render_settings,
    render_settings_reference,
    render_settings_schema,
)


def show_settings(config: str) -> None:
    """Prints the settings as YAML, secrets hidden. Faults: `bad_request`."""
    loaded = load_settings(config)
    print(f"# from {loaded.source}")
    print(render_settings(loaded.settings), end="")


def show_settings_reference() -> None:
    """Prints docs/reference/settings.md."""
    print(render_settings_reference(), end="")


def show_settings_schema() -> None:
    """Prints docs/reference/settings.schema.json."""
    print(render_settings_schema(), end="")
