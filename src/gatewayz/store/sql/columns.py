"""Columns as the tables are made of them, and the metadata that holds every table."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, MetaData, Text
from sqlalchemy.types import TypeEngine

METADATA = MetaData()


def text(name: str, *, key: bool = False) -> "Column[str]":
    """A text that is never NULL; empty by default, unless it is part of the key."""
    default = None if key else ""
    return Column(name, Text, primary_key=key, nullable=False, server_default=default)


def json(name: str, default: str) -> "Column[str]":
    """JSON text that is never NULL; `default` is `[]` or `{}`."""
    return Column(name, Text, nullable=False, server_default=default)


def number(name: str, kind: type[TypeEngine[int]] = BigInteger) -> "Column[int]":
    """An integer that is never NULL; zero by default."""
    return Column(name, kind, nullable=False, server_default="0")


def optional_number(name: str) -> "Column[int]":
    """An integer, or NULL where there is none."""
    return Column(name, BigInteger, nullable=True)


def flag(name: str) -> "Column[bool]":
    """True or false; false by default."""
    return Column(name, Boolean, nullable=False, server_default="0")


def one_of(name: str, *words: str) -> "tuple[Column[str], CheckConstraint]":
    """A text that is one of these words."""
    quoted = ", ".join(f"'{word}'" for word in words)
    return Column(name, Text, nullable=False), CheckConstraint(
        f"{name} IN ({quoted})", name=f"{name}_is_known"
    )
