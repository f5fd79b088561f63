"""Labels: the tags and the end user that a client gives its call, within bounds. They are booked, for its own accounts.

Tags never leave the gateway; who the end user is goes on only where the request itself says it.
"""

import re
from collections.abc import Iterable

from gatewayz.core.faults import Fault

MAX_TAGS = 16
MAX_TAG = 64
TAG = re.compile(rf"[ !#-+\--\[\]-~]{{1,{MAX_TAG}}}")
"""Printable ASCII, without commas, quotes and backslashes."""
MAX_END_USER = 256
"""Characters; Anthropic's `metadata.user_id` has as many."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def tags_of(words: Iterable[str], where: str) -> tuple[str, ...]:
    """Each tag once, in the order given. Faults: `bad_request` names what is out of bounds, and `where` it stood."""
    tags = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    if len(tags) > MAX_TAGS:
        raise Fault(
            "bad_request",
            f"{where}: a call has at most {MAX_TAGS} tags, not {len(tags)}.",
            param=where,
        )
    for tag in tags:
        if not TAG.fullmatch(tag):
            bounds = f"1 to {MAX_TAG} printable ASCII characters without comma, quote and backslash"
            raise Fault(
                "bad_request",
                f"{where}: {tag[:MAX_TAG]!r} is no tag; a tag has {bounds}.",
                param=where,
            )
    return tags


def end_user_of(name: str, where: str) -> str:
    """The name of an end user, empty for nobody. Faults: `bad_request`."""
    if len(name) > MAX_END_USER or CONTROL.search(name):
        why = f"an end user is named in at most {MAX_END_USER} characters, none of them a control character"
        raise Fault("bad_request", f"{where}: {why}.", param=where)
    return name
