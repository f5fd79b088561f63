"""What to say of a path at which there is nothing: where it was probably meant to lead.

Most of them come of a base URL: with `/v1` where the client adds it, without where it does not,
with a slash too many, or with another gateway's prefix.
"""

import re
from collections.abc import Collection
from difflib import get_close_matches

VERSION = "/v1"
NEAR = 0.85
SLASHES = re.compile("/{2,}")


def path_hint(path: str, served: Collection[str]) -> str:
    """`; did you mean /v1/messages? …`, or nothing. `served` are the paths that there are."""
    meant = SLASHES.sub("/", path).rstrip("/").lower()
    if meant in served:
        return f"; did you mean {meant}?"

    # What stands before the last /v1 is a base URL's, which has one part too many.
    ending = f"{VERSION}{meant.rpartition(VERSION)[2]}"
    if VERSION in meant and ending in served:
        too_much = meant.removesuffix(ending)
        return f"; did you mean {ending}? Leave {too_much} out of the base URL"
    if f"{VERSION}{meant}" in served:
        return f"; did you mean {VERSION}{meant}? The base URL ends with {VERSION}"
    near = get_close_matches(meant, served, 1, NEAR)
    return f"; did you mean {near[0]}?" if near else ""
