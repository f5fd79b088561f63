"""Near names: what somebody may have meant by a name that means nothing, found among thousands in a millisecond.

Names are compared only with the few that share most of their three-letter pieces.
"""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches

MAX_TEXT = 200
"""Characters of a name that are looked at."""
MAX_SHARED = 2_000
"""A piece that more names share tells nothing, and is passed over."""
COMPARED = 40
LIKE = 0.4
"""How alike a near name must be, by `difflib`."""


class Near:
    """Names, indexed by their pieces."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(names))
        self._shared: dict[str, list[int]] = {}
        for number, name in enumerate(self._names):
            for piece in _pieces(name):
                self._shared.setdefault(piece, []).append(number)

    def to(self, text: str, most: int) -> list[str]:
        """The nearest names, the nearest first; the first names there are when nothing is near."""
        counted: Counter[int] = Counter()
        text = text[:MAX_TEXT]
        for piece in _pieces(text):
            numbers = self._shared.get(piece, ())
            if len(numbers) <= MAX_SHARED:
                counted.update(numbers)
        likely = [self._names[number] for number, _ in counted.most_common(COMPARED)]
        return get_close_matches(text, likely, most, LIKE) or self._names[:most]


def _pieces(name: str) -> set[str]:
    text = f" {name.lower()[:MAX_TEXT]} "
    return {text[start : start + 3] for start in range(len(text) - 2)}
