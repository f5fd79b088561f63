"""Every planted mistake: the table of `python -m tools.mutants`."""

from tools.mutants.access import ACCESS_MISTAKES
from tools.mutants.books import BOOKS_MISTAKES
from tools.mutants.mistake import Mistake
from tools.mutants.routing import ROUTING_MISTAKES
from tools.mutants.settlement import SETTLEMENT_MISTAKES

MISTAKES: tuple[Mistake, ...] = (
    *BOOKS_MISTAKES,
    *SETTLEMENT_MISTAKES,
    *ROUTING_MISTAKES,
    *ACCESS_MISTAKES,
)
