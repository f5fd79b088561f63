"""`/admin/calls` and `/admin/audit`: every account's calls, and who changed what."""

from typing import Annotated, Any, Literal

from fastapi import Query, Response
from msgspec.json import decode

from gatewayz.store.sql import audit, calls
from gatewayz.store.sql.calls import Whose
from gatewayz.web.api.admin_accounts import Of
from gatewayz.web.api.admin_money import ViolationShown
from gatewayz.web.api.calls import CallShown, CallStory, Filter, answered, story_shown
from gatewayz.web.api.export import AsCsv
from gatewayz.web.api.shapes import Here, Id, Listed, Shown, Sliced, sliced


class AnyFilter(Filter):
    """Which calls, and whose."""

    account: str = ""


class EntryShown(Shown):
    """Who changed what. `digest` seals the entry and the one before it (`previous`)."""

    number: int
    object: Literal["audit.entry"] = "audit.entry"
    at_ms: int
    actor: str
    action: str
    subject: str
    account: str
    detail: dict[str, Any]
    previous: str
    digest: str


class Verified(Shown):
    """How many entries there are, and what is wrong with them."""

    entries: int
    whole: bool
    violations: list[ViolationShown]


ANSWERS = EXPORTED = {"several_calls": Listed[CallShown]}


async def several_calls(
    here: Here, asked: Annotated[AnyFilter, Query()], csv: AsCsv
) -> Listed[CallShown] | Response:  # fmt: skip
    """The calls of an account, or of all; the newest first."""
    return await answered(here, Whose(asked.account), asked, csv)


async def show_call(here: Here, id: Id) -> CallStory:
    """All that came of a call of any account, by any id that its client saw."""
    call_id = calls.call_id_of(id)
    account = await calls.owner(here.database, call_id)
    return story_shown(call_id, await calls.story(here.database, account, call_id))


async def entries(here: Here, cut: Sliced, account: Of = "") -> Listed[EntryShown]:
    """Who changed money, keys, people, models, prices; the newest first."""
    found, more = await audit.several(here.database, account, cut)
    same = [name for name in EntryShown.model_fields if name not in {"object", "detail"}]
    rows = [
        EntryShown(detail=decode(one.detail), **{name: getattr(one, name) for name in same})
        for one in found
    ]
    return sliced(more, rows)


async def verify(here: Here) -> Verified:
    """Check that no entry was changed, added or taken out."""
    count, found = await audit.verified(here.database, here.office.desk.peppers)
    shown = [ViolationShown(check=one.check, subject=one.subject, says=one.says) for one in found]
    return Verified(entries=count, whole=not shown, violations=shown)
