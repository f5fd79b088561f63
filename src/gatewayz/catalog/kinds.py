"""Kinds of models: what a native id, or a word in a provider's list, says that a model does.

What no surface serves is listed to nobody; who asks for it all the same is told what it does.
"""

import re
import tomllib
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.core.requests import Surface

MAX_WORD_CHARS = 64
MAX_WORDS = 20
CACHED_IDS = 20_000
"""Native ids whose kind is remembered: about as many as all lists name."""


class ModelKind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind as kinds.toml has it. `serves` is empty where nobody can be answered; `does` says why.

    Example: `ModelKind(name="video", does="makes video", ids="(^|/)veo", words=("video",))`
    """

    name: str
    serves: tuple[Surface, ...] = ()
    does: str = ""
    ids: str = r"(?!)"
    only: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


class _ModelKinds(Struct, frozen=True, forbid_unknown_fields=True):
    kind: tuple[ModelKind, ...]
    understated: dict[str, str]


@cache
def _table() -> _ModelKinds:
    text = files("gatewayz.catalog").joinpath("kinds.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _ModelKinds)


def kinds() -> tuple[ModelKind, ...]:
    """The kinds of this version, in the order in which they are tried."""
    return _table().kind


@lru_cache(maxsize=CACHED_IDS)
def why_understated(native: str) -> str:
    """Why any listed price of a model says too little to be sold at; empty for nearly all.

    Example: `it searches as often as it likes`
    """
    patterns = _table().understated.items()
    return next((why for ids, why in patterns if re.search(ids, native, re.IGNORECASE)), "")


@lru_cache(maxsize=CACHED_IDS)
def kind_from_id(provider: str, native: str) -> ModelKind | None:
    """The kind that an id tells; `None` where it tells none: most are models that chat."""
    for kind in kinds():
        if (not kind.only or provider in kind.only) and re.search(kind.ids, native, re.IGNORECASE):
            return kind
    return None


def kind_from_words(value: Any) -> ModelKind | None:
    """The kind that a list names, as a word or as several; of several one that is served."""
    words = value if isinstance(value, list) else [value]
    named = [kind for kind in map(_kind_of_word, _split_words(words[:MAX_WORDS])) if kind]
    # A model that chats and does something else besides is a model that chats.
    named.sort(key=lambda kind: ("chat" not in kind.serves, not kind.serves))
    return named[0] if named else None


def _split_words(words: Iterable[Any]) -> Iterable[str]:
    for word in words:
        if isinstance(word, str) and len(word) <= MAX_WORD_CHARS * MAX_WORDS:
            yield from (part.strip().lower() for part in word.split(",")[:MAX_WORDS])


def _kind_of_word(word: str) -> ModelKind | None:
    return next((kind for kind in kinds() if word in kind.words), None)


def why_unserved(provider: str, native: str) -> str:
    """What a model does that no surface serves, by its id; empty for every other.

    Example: `makes video`
    """
    kind = kind_from_id(provider, native)
    return "" if kind is None or kind.serves else kind.does
