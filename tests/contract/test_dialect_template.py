"""Every dialect of the registry has what the template asks for; what one lacks is listed by name.

The template is told in docs/guides/adding-a-dialect.md: the same names for the same files, complete
roles, words for every fault, reasons for what cannot be said, exchanges, and a line in the guide.
"""

import importlib.util
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from gatewayz.core.faults import FAULTS
from gatewayz.core.requests import Capability
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from gatewayz.simulator.exchanges import exchange_folders, exchange_names
from tests.support.reply_codecs import REPLY_CODECS

GUIDE = Path("docs/guides/adding-a-dialect.md").read_text()
CLIENT_METHODS = ("decode", "encoder", "error_response")
UPSTREAM_METHODS = ("encode", "steps", "decoder", "error_from_response")
FILES = ("wire", "request", "dropped", "roles")
"""What every dialect has; clients also need `encoder` and `errors`, upstreams `decoder`."""


class Package(NamedTuple):
    """The package of a dialect, and the roles that the registry has of it."""

    name: str
    clients: tuple[Any, ...] = ()
    upstreams: tuple[Any, ...] = ()


def packages() -> list[Package]:
    clients: dict[str, list[Any]] = defaultdict(list)
    upstreams: dict[str, list[Any]] = defaultdict(list)
    for client in CLIENTS.values():
        clients[package_name(client)].append(client)
    for upstream in UPSTREAMS.values():
        upstreams[package_name(upstream)].append(upstream)
    return [
        Package(name, tuple(clients[name]), tuple(upstreams[name]))
        for name in sorted({*clients, *upstreams})
    ]


def package_name(role: Any) -> str:
    return type(role).__module__.rpartition(".")[0]


def module(package: str, name: str) -> ModuleType | None:
    """A module of the package; `errors` and `usage` may be its parent's, for all its wires."""
    parent = package.rpartition(".")[0]
    places = (package, parent) if name in {"errors", "usage"} else (package,)
    for place in places:
        if importlib.util.find_spec(f"{place}.{name}") is not None:
            return importlib.import_module(f"{place}.{name}")
    return None


def missing_parts(package: Package) -> list[str]:
    """What this dialect lacks, by name."""
    missing = missing_files(package) + missing_declarations(package)
    for role in package.clients:
        missing += missing_of_client(role)
    for role in package.upstreams:
        missing += missing_of_upstream(role)
    return missing + missing_proofs(package)


def missing_files(package: Package) -> list[str]:
    names = [*FILES]
    names += ["encoder", "errors"] if package.clients else []
    names += ["decoder"] if package.upstreams else []
    return [f"{name}.py" for name in names if module(package.name, name) is None]


def missing_declarations(package: Package) -> list[str]:
    """Its name in `wire`, and what it cannot say in `dropped`."""
    missing = []
    wire, dropped = module(package.name, "wire"), module(package.name, "dropped")
    names = {role.name for role in (*package.clients, *package.upstreams)}
    if wire is not None and getattr(wire, "NAME", None) not in names:
        missing.append("wire.NAME: the name of a role")
    reasons = getattr(dropped, "DROPPED", None)
    if dropped is not None and not isinstance(reasons, dict):
        missing.append("dropped.DROPPED: name → why it cannot be said")
    return missing + [
        f"dropped.DROPPED[{name!r}]: why" for name, why in (reasons or {}).items() if not why
    ]


def missing_of_client(role: Any) -> list[str]:
    label = type(role).__name__
    missing = missing_attributes(role, CLIENT_METHODS, {"name": str, "keep_alive": bytes})
    words = getattr(role, "ERRORS", {})
    missing += [f"{label}.ERRORS[{kind!r}]" for kind in FAULTS if kind not in words]
    return missing + [
        f"{label}.ERRORS: {kind!r} is no fault" for kind in words if kind not in FAULTS
    ]


def missing_of_upstream(role: Any) -> list[str]:
    label = type(role).__name__
    missing = missing_attributes(role, UPSTREAM_METHODS, {"name": str, "lacks": frozenset})
    if not getattr(role, "serves", None):
        missing.append(f"{label}.serves")
    if not all(isinstance(lack, Capability) for lack in getattr(role, "lacks", ())):
        missing.append(f"{label}.lacks: capabilities")
    return missing


def missing_attributes(
    role: Any, methods: tuple[str, ...], attributes: dict[str, type]
) -> list[str]:
    label = type(role).__name__
    return [
        *(f"{label}.{name}()" for name in methods if not callable(getattr(role, name, None))),
        *(
            f"{label}.{name}"
            for name, kind in attributes.items()
            if not isinstance(getattr(role, name, None), kind)
        ),
    ]


def missing_proofs(package: Package) -> list[str]:
    """Exchanges for providers, a codec for the laws of those that chat, and lines of the guide."""
    missing = []
    names = [getattr(role, "name", "") for role in package.upstreams]
    folders = [name for name in names if name in exchange_folders() and exchange_names(name)]
    if names and not folders:
        missing.append(f"simulator/exchanges/{names[0]}/")
    missing += [
        f"tests/support/reply_codecs.py: REPLY_CODECS[{role.name!r}]"
        for role in package.upstreams
        if "chat" in getattr(role, "serves", ()) and role.name not in REPLY_CODECS
    ]
    names += [path for path, role in CLIENTS.items() if role in package.clients]
    return missing + [
        f"docs/guides/adding-a-dialect.md: `{name}`" for name in names if f"`{name}`" not in GUIDE
    ]


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
def test_a_dialect_lacks_nothing_of_the_template(package):
    assert missing_parts(package) == []


class HollowClient:
    """A dialect that somebody has just begun."""

    name = "hollow"
    keep_alive = b""
    ERRORS = dict.fromkeys(FAULTS, "") | {"no_such_fault": ""}

    def __init__(self) -> None:
        del self.ERRORS["internal"]


class HollowUpstream:
    name = "hollow"
    serves = frozenset({"chat"})
    lacks = frozenset({"audio"})

    def encode(self, request, target):
        raise NotImplementedError


def test_what_a_new_dialect_lacks_is_listed_by_name():
    # A package that exists and is no dialect: it has a decoder, and nothing else of the template.
    package = Package("gatewayz.dialects.kit", (HollowClient(),), (HollowUpstream(),))
    assert missing_parts(package) == [
        "wire.py",
        "request.py",
        "roles.py",
        "encoder.py",
        "errors.py",
        "dropped.DROPPED: name → why it cannot be said",
        "HollowClient.decode()",
        "HollowClient.encoder()",
        "HollowClient.error_response()",
        "HollowClient.ERRORS['internal']",
        "HollowClient.ERRORS: 'no_such_fault' is no fault",
        "HollowUpstream.steps()",
        "HollowUpstream.decoder()",
        "HollowUpstream.error_from_response()",
        "HollowUpstream.lacks: capabilities",
        "simulator/exchanges/hollow/",
        "tests/support/reply_codecs.py: REPLY_CODECS['hollow']",
        "docs/guides/adding-a-dialect.md: `hollow`",
    ]
