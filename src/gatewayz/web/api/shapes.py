"""Shapes of the control plane: what goes in is exact, money goes out as text and as whole nano-dollars."""

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gatewayz.core.money import Nanos, nanos_from_usd, usd_text
from gatewayz.store.sql.slices import Cut, Slice
from gatewayz.web.api.visit import SCOPE, Visit

LAST_MS = 253_402_300_799_999
"""The end of the year 9999."""
MAX_LIMIT = 1_000
T = TypeVar("T")


class Given(BaseModel):
    """What a client sends: a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Shown(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(frozen=True)


class Words(Shown):
    """Why a request was refused: `type` and `code` are OpenAI's, `param` is the field that is wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Refusal(Shown):
    """How everything that is refused is answered."""

    error: Words


class Listed(Shown, Generic[T]):
    """A slice of a list. `next` goes into `after` to get the slice that follows."""

    object: str = "list"
    data: list[T]
    has_more: bool = False
    next: str | None = None


class Done(Shown):
    """What was done, and to what."""

    id: str
    object: str
    deleted: bool = True


Usd = Annotated[str, Field(description="US dollars as decimal text", examples=["12.5"])]
UsdGiven = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$"),
    Field(description="US dollars as decimal text, at most nine decimals", examples=["12.50"]),
]
UsdMoved = Annotated[
    str,
    StringConstraints(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$"),
    Field(description="US dollars as decimal text, below zero to take away", examples=["-2.50"]),
]
Moment = Annotated[int, Field(ge=0, le=LAST_MS, description="Milliseconds since 1970, UTC")]
Name = Annotated[str, StringConstraints(max_length=200)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _visit(request: Request) -> Visit:
    found: Visit = request.scope[SCOPE]
    return found


Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="The most that one answer lists")]
After = Annotated[str, Field(max_length=512, description="`next` of the answer before")]


def _cut(limit: Annotated[Limit, Query()] = 100, after: Annotated[After, Query()] = "") -> Cut:
    return Cut(after=after, limit=limit)


Here = Annotated[Visit, Depends(_visit)]
Sliced = Annotated[Cut, Depends(_cut)]
FromMs = Annotated[Moment | None, Query(description="Not before this moment (milliseconds)")]
UntilMs = Annotated[Moment | None, Query(description="Before this moment (milliseconds)")]


def usd(nanos: int) -> str:
    """An amount as it is written."""
    return usd_text(Nanos(nanos))


def money(**amounts: int) -> dict[str, Any]:
    """Each amount as text, and beside it in whole nano-dollars."""
    written: dict[str, Any] = {}
    for name, nanos in amounts.items():
        written |= {name: usd(nanos), f"{name}_nanos": nanos}
    return written


def nanos(text: str) -> Nanos:
    """The amount that somebody wrote. Faults: `bad_request`."""
    return nanos_from_usd(text)


def sliced(found: Slice, rows: list[T]) -> Listed[T]:
    """What is shown of a slice."""
    return Listed(data=rows, has_more=bool(found.next), next=found.next or None)


def whole(rows: list[T]) -> Listed[T]:
    """A list that is never cut."""
    return Listed(data=rows)
