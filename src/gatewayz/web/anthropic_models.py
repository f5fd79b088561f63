"""The list of models as Anthropic's clients read it: for requests that carry `anthropic-version`.

Shape and paging: docs.claude.com/en/api/models-list. Filters of the query hold here too.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from gatewayz.catalog.cards import Card
from gatewayz.core.faults import Fault
from gatewayz.web.asked import Asked

HEADER = "anthropic-version"
PAGE, MAX_PAGE = 20, 1_000


def model_info(card: Card) -> Card:
    """One model; a date that nobody knows is the epoch."""
    return {
        "type": "model",
        "id": card["id"],
        "display_name": card["name"],
        "created_at": datetime.fromtimestamp(card["created"], UTC)
        .isoformat()
        .replace("+00:00", "Z"),
        "max_input_tokens": card["context_length"],
        "max_tokens": card["top_provider"]["max_completion_tokens"],
    }


def page_of(cards: Sequence[Card], asked: Asked) -> Card:
    """The page after or before an id. Faults: `bad_request` for a size or an id that is none."""
    limit = asked.number("limit", PAGE, 1, MAX_PAGE)
    after, before = _place(cards, asked, "after_id"), _place(cards, asked, "before_id")
    if before is not None:
        start, end = max(before - limit, 0), before
        more = start > 0
    else:
        start = 0 if after is None else after + 1
        end = start + limit
        more = end < len(cards)
    data = [model_info(card) for card in cards[start:end]]
    ends = (
        {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
        if data
        else {"first_id": None, "last_id": None}
    )
    return {"data": data, "has_more": more, **ends}


def _place(cards: Sequence[Card], asked: Asked, name: str) -> int | None:
    wanted = asked.query.get(name, ("",))[-1]
    if not wanted:
        return None
    for place, card in enumerate(cards):
        if card["id"] == wanted:
            return place
    raise Fault("bad_request", f"{name}: the list has no model '{wanted[:200]}'.", param=name)
