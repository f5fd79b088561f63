"""`/admin/audit`: who changed what, and whether the log of it is whole."""

from typing import Any, Literal

from msgspec.json import decode

from gatewayz.control import audit
from gatewayz.web.api.shapes import (
    AccountFilter,
    Ctx,
    ListResponse,
    PageCursor,
    ResponseModel,
    ViolationView,
    list_response,
)


class AuditEntryView(ResponseModel):
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


class AuditVerification(ResponseModel):
    """How many entries there are, and what is wrong with them."""

    entries: int
    whole: bool
    violations: list[ViolationView]


ENTRY_FIELDS = tuple(
    name for name in AuditEntryView.model_fields if name not in {"object", "detail"}
)
"""Those that are shown as the log has them."""


async def list_audit_entries(
    ctx: Ctx, cursor: PageCursor, account: AccountFilter = ""
) -> ListResponse[AuditEntryView]:
    """Who changed money, keys, people, models, prices; the newest first."""
    entries, page = await audit.list_entries(ctx.database, account, cursor)
    views = [
        AuditEntryView(
            detail=decode(entry.detail), **{name: getattr(entry, name) for name in ENTRY_FIELDS}
        )
        for entry in entries
    ]
    return list_response(page, views)


async def verify_audit_log(ctx: Ctx) -> AuditVerification:
    """Check that no entry was changed, added or taken out."""
    count, violations = await audit.verify_log(ctx.database, ctx.control.transaction.peppers)
    views = [
        ViolationView(check=violation.check, subject=violation.subject, message=violation.says)
        for violation in violations
    ]
    return AuditVerification(entries=count, whole=not views, violations=views)
