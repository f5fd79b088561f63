"""`gatewayz settings`: the settings that hold, their reference, their schema."""

import json
from collections.abc import Mapping
from typing import Any

from gatewayz.settings import load_settings
from gatewayz.settings_reference import (
    render_settings,
    render_settings_reference,
    render_settings_schema,
    settings_without_secrets,
)


def show_settings(config: str, flags: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints the settings as YAML or JSON, secrets hidden. Faults: `bad_request`."""
    loaded = load_settings(config, flags)
    if as_json:
        print(json.dumps(settings_without_secrets(loaded.settings), indent=2))
        return
    print(f"# from {loaded.source}")
    for warning in loaded.warnings:
        print(f"# {warning}")
    print(render_settings(loaded.settings), end="")


def show_settings_reference() -> None:
    """Prints docs/reference/settings.md."""
    print(render_settings_reference(), end="")


def show_settings_schema() -> None:
    """Prints docs/reference/settings.schema.json."""
    print(render_settings_schema(), end="")
