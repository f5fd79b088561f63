"""Similar names: what somebody may have meant by a name that means nothing, found in a millisecond.

Names are compared only with the few that share most of their trigrams.
"""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAME_CHARS = 200
"""Characters of a name that are looked at."""
MAX_SHARED = 2_000
"""A trigram that more names share tells nothing, and is passed over."""
MAX_COMPARED = 40
MIN_SIMILARITY = 0.4
"""How alike a name must be, by `difflib`."""


class SimilarNames:
    """Names, indexed by their trigrams."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(names))
        self._names_by_trigram: dict[str, list[int]] = {}
        for number, name in enumerate(self._names):
            for trigram in _trigrams(name):
                self._names_by_trigram.setdefault(trigram, []).append(number)

    def closest(self, text: str, limit: int) -> list[str]:
        """The most similar names, best first; the first names there are when none is similar."""
        shared: Counter[int] = Counter()
        text = text[:MAX_NAME_CHARS]
        for trigram in _trigrams(text):
            numbers = self._names_by_trigram.get(trigram, ())
            if len(numbers) <= MAX_SHARED:
                shared.update(numbers)
        likely = [self._names[number] for number, _ in shared.most_common(MAX_COMPARED)]
        return get_close_matches(text, likely, limit, MIN_SIMILARITY) or self._names[:limit]


def _trigrams(name: str) -> set[str]:
    text = f" {name.lower()[:MAX_NAME_CHARS]} "
    return {text[start : start + 3] for start in range(len(text) - 2)}
