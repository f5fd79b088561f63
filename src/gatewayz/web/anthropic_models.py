"""The list of models in Anthropic's form, for requests with `anthropic-version`.

Shape and paging: docs.claude.com/en/api/models-list. Filters of the query hold here too.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from gatewayz.catalog.cards import Card
from gatewayz.core.faults import Fault
from gatewayz.web.handler_request import HandlerRequest

VERSION_HEADER = "anthropic-version"
DEFAULT_LIMIT, MAX_LIMIT = 20, 1_000


def model_info(card: Card) -> Card:
    """One model; a date that is not known is the epoch."""
    created = datetime.fromtimestamp(card["created"], UTC)
    return {
        "type": "model",
        "id": card["id"],
        "display_name": card["name"],
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "max_input_tokens": card["context_length"],
        "max_tokens": card["top_provider"]["max_completion_tokens"],
    }


def models_page(cards: Sequence[Card], request: HandlerRequest) -> Card:
    """The page after or before an id. Faults: `bad_request` for a limit or an unknown id."""
    limit = request.integer("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    after = _index_of_id(cards, request, "after_id")
    before = _index_of_id(cards, request, "before_id")
    if before is not None:
        start, end = max(before - limit, 0), before
        more = start > 0
    else:
        start = 0 if after is None else after + 1
        end = start + limit
        more = end < len(cards)

    data = [model_info(card) for card in cards[start:end]]
    return {
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _index_of_id(cards: Sequence[Card], request: HandlerRequest, name: str) -> int | None:
    id = request.query.get(name, ("",))[-1]
    if not id:
        return None
    for index, card in enumerate(cards):
        if card["id"] == id:
            return index
    raise Fault("bad_request", f"{name}: the list has no model '{id[:200]}'.", param=name)
