"""Shapes of the control plane: what goes in is exact, money goes out as text and as nano-dollars.

Convention: what is shown is an `XView`; a POST body is a `CreateXRequest`, a PATCH body an
`UpdateXRequest`, a PUT body a `PutXRequest`; `Any` marks the operator's variant of a body or a
handler, which names an account.
"""

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gatewayz.control.context import RequestContext
from gatewayz.core.labels import MAX_END_USER
from gatewayz.core.money import Nanos, usd_text
from gatewayz.core.pagination import Cursor, Page
from gatewayz.web.api.context import context_from_scope

MAX_TIMESTAMP_MS = 253_402_300_799_999
"""The end of the year 9999."""
MAX_LIMIT = 1_000
MAX_TEXT_CHARS = 2_048
"""Of a text in a body whose field says nothing narrower."""
T = TypeVar("T")


class RequestModel(BaseModel):
    """A body that a client sends: a field that is not known is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, str_max_length=MAX_TEXT_CHARS
    )


class QueryModel(BaseModel):
    """The fields of a query: text, which is read as the type of its field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ResponseModel(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(frozen=True)


class ErrorBody(ResponseModel):
    """Why a request was refused. `type` and `code` are OpenAI's; `param` is the field in error."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(ResponseModel):
    """The answer to every request that is refused."""

    error: ErrorBody


class ListResponse(ResponseModel, Generic[T]):
    """A page of a list. `next` goes into `after` to get the page that follows."""

    object: str = "list"
    data: list[T]
    has_more: bool = False
    next: str | None = None


class DeleteResponse(ResponseModel):
    """What was deleted or revoked."""

    id: str
    object: str
    deleted: bool = True


class ViolationView(ResponseModel):
    """Something in the books or the audit log that is not as it must be."""

    check: str
    subject: str
    message: str


Usd = Annotated[str, Field(description="US dollars as decimal text", examples=["12.5"])]
UsdAmount = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$"),
    Field(description="US dollars as decimal text, at most nine decimals", examples=["12.50"]),
]
SignedUsdAmount = Annotated[
    str,
    StringConstraints(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$"),
    Field(description="US dollars as decimal text, below zero to take away", examples=["-2.50"]),
]
Moment = Annotated[
    int, Field(ge=0, le=MAX_TIMESTAMP_MS, description="Milliseconds since 1970, UTC")
]
FromMs = Annotated[Moment | None, Field(description="Not before this moment (milliseconds)")]
UntilMs = Annotated[Moment | None, Field(description="Before this moment (milliseconds)")]
Name = Annotated[str, StringConstraints(max_length=200)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=128)]
EndUser = Annotated[str, Field(min_length=1, max_length=MAX_END_USER)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="The most rows of one page")]
After = Annotated[str, Field(max_length=512, description="`next` of the page before")]

AccountIdQuery = Annotated[str, Query(min_length=1, max_length=128, description="The account's id")]
AccountFilter = Annotated[str, Query(max_length=128, description="Only this account's")]
KeyIdQuery = Annotated[str, Query(max_length=128, description="The id of a key")]
EndUserQuery = Annotated[
    str, Query(max_length=MAX_END_USER, description="An end user, as requests name it in `user`")
]


def _context(request: Request) -> RequestContext:
    return context_from_scope(request.scope)


def _cursor(
    limit: Annotated[Limit, Query()] = 100, after: Annotated[After, Query()] = ""
) -> Cursor:
    return Cursor(after=after, limit=limit)


Ctx = Annotated[RequestContext, Depends(_context)]
PageCursor = Annotated[Cursor, Depends(_cursor)]


def usd_or_none(amount: int | None) -> str | None:
    """Nano-dollars as text in US dollars, where there is an amount."""
    return None if amount is None else usd_text(Nanos(amount))


def money_fields(**amounts: int) -> dict[str, Any]:
    """Each amount of nano-dollars as text, and beside it as it is.

    Example: `money_fields(cost=2_500_000)` is `{"cost": "0.0025", "cost_nanos": 2_500_000}`.
    """
    fields: dict[str, Any] = {}
    for name, amount in amounts.items():
        fields |= {name: usd_text(Nanos(amount)), f"{name}_nanos": amount}
    return fields


def list_response(page: Page, rows: list[T]) -> ListResponse[T]:
    """A page as it is shown: `rows` are the views of its rows."""
    return ListResponse(data=rows, has_more=bool(page.next), next=page.next or None)


def full_list_response(rows: list[T]) -> ListResponse[T]:
    """A list that is always whole."""
    return ListResponse(data=rows)
