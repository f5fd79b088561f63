"""Where settings come from: one file, `.env`, the environment; and `${…}` within their texts.

Plain dictionaries and texts: what they mean is said in `settings`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from gatewayz.core.faults import Fault

PREFIX = "GATEWAYZ_"
FILES = ("gatewayz.yaml", "/etc/gatewayz/gatewayz.yaml")
DOTENV = ".env"
REFERENCE = re.compile(r"\$\$\{|\$\{(?:file:([^}]+)|([A-Za-z_][A-Za-z0-9_]*))\}|\$\{([^}]*)\}?")
"""`$${` (which means `${`), `${file:/path}`, `${NAME}`, or what looks like one and is none."""
MAX_REFERENCED_BYTES = 64 * 2**10
"""Of a file whose content is put in: a secret, perhaps a service account's key."""
OPTIONAL_REFERENCES = re.compile(r"^providers\.[^.]+\.(key|credentials\.\d+\.key)$")
"""A provider's key whose variable is not set is no key, and the provider says so."""

UNSET = "\0{}\0"
"""What stands in a key for a variable that is not set; no text of a file or variable can have it."""


def config_path(name: str) -> Path | None:
    """The file that is named, or the first of the usual ones. Faults: `bad_request`."""
    if name:
        if not Path(name).is_file():
            raise Fault("bad_request", f"The configuration file {name} does not exist.")
        return Path(name)
    return next((Path(name) for name in FILES if Path(name).is_file()), None)


def values_from_file(path: Path) -> dict[str, Any]:
    """The file's sections. Faults: `bad_request` for what is no YAML, or says a key twice."""
    try:
        values = parse_yaml(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise _not_utf8(str(path), error) from None
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise Fault("bad_request", f"{path} cannot be read as YAML: {reason}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise Fault(
            "bad_request", f"{path} must hold sections with keys, such as 'web: {{port: 8080}}'."
        )
    return values


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as the library declares it
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
                    problem = (
                        f"{key.value!r} is there twice, in lines {lines[key.value]} and {line}"
                    )
                    raise yaml.constructor.ConstructorError(None, None, problem)
                lines[key.value] = line
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """What YAML says, each key once. Raises `yaml.YAMLError`."""
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def read_environment() -> dict[str, str]:
    """The environment, over what `.env` says. Faults: `bad_request` for a `.env` that is none."""
    path = Path(DOTENV)
    if path.is_dir():
        raise Fault(
            "bad_request",
            f"{path.absolute()} is a folder; remove it, or put a file there "
            "(a bind mount of a file that is not there makes a folder).",
        )
    if not path.is_file():
        return dict(os.environ)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(DOTENV, error) from None
    dotenv = dotenv_values(stream=StringIO(text))
    return {name: value for name, value in dotenv.items() if value is not None} | os.environ


def _not_utf8(name: str, error: UnicodeDecodeError) -> Fault:
    # Not the text around it: it may be a secret.
    line = error.object[: error.start].count(b"\n") + 1
    byte = error.object[error.start]
    return Fault(
        "bad_request",
        f"{name} is not UTF-8: byte 0x{byte:02x} in line {line}; save it as UTF-8.",
    )


def setting_variables(
    environment: Mapping[str, str], flat: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Variables that are meant as settings, each with the setting's path.

    Those are `GATEWAYZ_SECTION__KEY` and the `flat` names (variable → setting). Others that begin
    so are somebody else's: Kubernetes sets GATEWAYZ_PORT for a service of this name.
    """
    for name in environment:
        if name in flat:
            if flat[name]:
                yield name, [flat[name]]
        elif name.startswith(PREFIX) and "__" in name:
            yield name, name[len(PREFIX) :].lower().split("__")


def put_value(values: dict[str, Any], name: str, path: list[str], text: str) -> None:
    """Puts a variable's text where its path says; `[…]` and `{…}` are YAML.

    Faults: `bad_request`.
    """
    for step in path[:-1]:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            raise Fault("bad_request", f"{name}: {step} has no keys.")
        values = inner
    if text.strip()[:1] not in {"[", "{"}:
        values[path[-1]] = text
        return
    try:
        values[path[-1]] = parse_yaml(text)
    except yaml.YAMLError as error:
        reason = " ".join((getattr(error, "problem", None) or "it is no YAML").split())
        raise Fault("bad_request", f"{name} cannot be read: {reason}.") from None


def merge_values(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Puts values over others, section by section; `None` is no value."""
    for name, value in over.items():
        if isinstance(value, dict):
            inner = under.setdefault(name, {})
            if isinstance(inner, dict):
                merge_values(inner, value)
                continue
        if value is not None:
            under[name] = value


def expand_references(value: Any, environment: Mapping[str, str], path: str = "") -> Any:
    """The value with every `${NAME}` and `${file:/path}` in its texts replaced.

    A provider's key whose variable is not set says so (`UNSET`), and is no key. Faults:
    `bad_request`.
    """
    if isinstance(value, dict):
        return {
            name: expand_references(inner, environment, f"{path}.{name}".lstrip("."))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            expand_references(inner, environment, f"{path}.{number}")
            for number, inner in enumerate(value)
        ]
    if not isinstance(value, str) or "${" not in value:
        return value
    return REFERENCE.sub(lambda match: _referenced_text(match, environment, path), value)


def _referenced_text(match: re.Match[str], environment: Mapping[str, str], path: str) -> str:
    file, variable, malformed = match.groups()
    if file is not None:
        return _file_text(Path(file), path)
    if variable is not None:
        text = environment.get(variable)
        if text is not None:
            return text
        if OPTIONAL_REFERENCES.match(path):
            return UNSET.format(variable)
        raise Fault(
            "bad_request",
            f"{path}: the environment has no {variable}; set it, or write the value itself.",
        )
    if malformed is None:
        return "${"
    raise Fault(
        "bad_request",
        f"{path}: ${{{malformed[:60]}}} names nothing; write ${{NAME}} for a variable, "
        "${file:/path} for a file's content, $${ for these characters themselves.",
    )


def _file_text(file: Path, path: str) -> str:
    """The text of a file, without the line breaks at its end. Faults: `bad_request`."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_REFERENCED_BYTES + 1)
        text = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _not_utf8(f"{path}: {file}", error) from None
    except OSError as error:
        raise Fault("bad_request", f"{path}: {file} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_REFERENCED_BYTES:
        raise Fault("bad_request", f"{path}: {file} is larger than {MAX_REFERENCED_BYTES} bytes.")
    if not text.strip():
        raise Fault("bad_request", f"{path}: {file} is empty.")
    return text
