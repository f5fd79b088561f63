"""Labels: the tags and the end user that a client gives its call, within bounds.

They are booked with the call.

Tags never leave the gateway; who the end user is goes on only where the request itself says it.
"""

import re
from collections.abc import Iterable

from gatewayz.core.faults import Fault

MAX_TAGS = 16
MAX_TAG_CHARS = 64
TAG_PATTERN = re.compile(rf"[ !#-+\--\[\]-~]{{1,{MAX_TAG_CHARS}}}")
"""Printable ASCII, without commas, quotes and backslashes."""
MAX_END_USER = 256
"""Characters; Anthropic's `metadata.user_id` has as many."""
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def parse_tags(words: Iterable[str], where: str) -> tuple[str, ...]:
    """Each tag once, in the order given.

    Faults: `bad_request` names what is out of bounds, and `where` it stood.
    """
    tags = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    if len(tags) > MAX_TAGS:
        raise Fault(
            "bad_request",
            f"{where}: a call can have at most {MAX_TAGS} tags, not {len(tags)}.",
            param=where,
        )
    for tag in tags:
        if not TAG_PATTERN.fullmatch(tag):
            raise Fault(
                "bad_request",
                f"{where}: {tag[:MAX_TAG_CHARS]!r} is not a valid tag: use 1 to {MAX_TAG_CHARS} "
                "printable ASCII characters without commas, quotes and backslashes.",
                param=where,
            )
    return tags


def parse_end_user(name: str, where: str) -> str:
    """The name of an end user, empty for nobody. Faults: `bad_request`."""
    if len(name) > MAX_END_USER or CONTROL_CHARACTERS.search(name):
        raise Fault(
            "bad_request",
            f"{where}: an end user's name has at most {MAX_END_USER} characters, "
            "and no control characters.",
            param=where,
        )
    return name
