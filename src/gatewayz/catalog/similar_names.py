"""Similar names: what somebody may have meant by a name that means nothing, in a few milliseconds.

A family's own models come first: whoever types `claude-…` wants one of Anthropic's.
"""

from collections.abc import Iterable

from rapidfuzz import fuzz, process

from gatewayz.catalog.canonical_ids import IGNORED_CHARACTERS, family_of, family_rules

MAX_NAME_CHARS = 200
"""Characters of a name that are shown."""
MAX_SHAPE_CHARS = 64
"""Characters of a name that are compared."""
MAX_COMPARED = 20_000
"""Models that are compared as a whole: a millisecond for a usual name."""
MAX_COMPARED_IN_PART = 4_000
"""Models in which a name is looked for as a part, which takes some twenty times as long."""
MAX_LIKELY = 60
PART_WEIGHT = 0.6
"""Weight of the part that is most alike, beside the whole: `llama3.3` is all of a longer name."""
MIN_SIMILARITY = 45.0
"""How alike a model of another family must be, of 100; one of the family always is."""
WORD_JOINTS = str.maketrans("", "", "@:/")


class SimilarNames:
    """The ids of models, in the order in which they are told where nothing else decides."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = list(dict.fromkeys(ids))[:MAX_COMPARED]
        self._shapes = [_shape(id) for id in self.ids]
        self._numbers_by_family: dict[str, list[int]] = {}
        for number, id in enumerate(self.ids):
            numbers = self._numbers_by_family.setdefault(id.partition("/")[0], [])
            if len(numbers) < MAX_COMPARED_IN_PART:
                numbers.append(number)

    def closest(self, text: str, limit: int) -> list[str]:
        """The most similar ids, best first; the first ids there are when none is similar."""
        shape = _shape(text)
        own = self._numbers_by_family.get(family_of(text[:MAX_NAME_CHARS]), [])
        found = self._rank(shape, own, 0.0)[:limit]
        if len(found) < limit:
            others = [n for n in self._likely(shape) if n not in found]
            found += self._rank(shape, others, MIN_SIMILARITY)[: limit - len(found)]
        return [self.ids[number] for number in found] or self.ids[:limit]

    def _likely(self, shape: str) -> list[int]:
        """The numbers of the models most alike as a whole, or in a part."""
        whole = process.extract(shape, self._shapes, scorer=fuzz.ratio, limit=MAX_LIKELY)
        first = self._shapes[:MAX_COMPARED_IN_PART]
        part = process.extract(shape, first, scorer=fuzz.partial_ratio, limit=MAX_LIKELY)
        return sorted({number for _, _, number in (*whole, *part)})

    def _rank(self, shape: str, numbers: list[int], least: float) -> list[int]:
        scores = {}
        for number in numbers:
            other = self._shapes[number]
            whole, part = fuzz.ratio(shape, other), fuzz.partial_ratio(shape, other)
            scores[number] = (1 - PART_WEIGHT) * whole + PART_WEIGHT * part
        alike = [number for number in numbers if scores[number] >= least]
        return sorted(alike, key=lambda number: -scores[number])


def _shape(text: str) -> str:
    """What is compared of a name: its last part, without case and joints."""
    text = text[: MAX_NAME_CHARS * 2].lower()
    for prefix in family_rules().typed["prefixes"]:
        text = text.removeprefix(prefix)
    name = text.partition("/")[2] or text
    return name.translate(IGNORED_CHARACTERS).translate(WORD_JOINTS)[:MAX_SHAPE_CHARS]
