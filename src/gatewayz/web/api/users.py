"""`/admin/users`: the people of accounts, and what their role lets them do."""

from typing import Annotated, Literal

from pydantic import Field

from gatewayz.control import users
from gatewayz.control.context import RequestContext
from gatewayz.control.users import User
from gatewayz.core.access import Role
from gatewayz.web.api.shapes import (
    AccountFilter,
    Ctx,
    Id,
    ListResponse,
    Name,
    PageCursor,
    RequestModel,
    ResponseModel,
    list_response,
)


class UserView(ResponseModel):
    """A person of an account."""

    id: str
    object: Literal["user"] = "user"
    account: str
    email: str
    name: str
    role: str
    created_ms: int
    disabled_ms: int | None


class CreateUserRequest(RequestModel):
    """A new person."""

    account: Id
    email: Annotated[str, Field(max_length=256)]
    role: Role = "member"
    name: Name = ""


class UpdateUserRequest(RequestModel):
    """What to change; a field that is left out stays."""

    role: Role | None = None
    disabled: bool | None = None


def user_view(user: User) -> UserView:
    """A person as they are shown."""
    names = [name for name in UserView.model_fields if name != "object"]
    return UserView(**{name: getattr(user, name) for name in names})


async def list_users(
    ctx: Ctx, cursor: PageCursor, account: AccountFilter = ""
) -> ListResponse[UserView]:
    """The people of an account, or of all; the oldest first."""
    rows, page = await users.list_users(ctx.database, account, cursor)
    return list_response(page, [user_view(user) for user in rows])


async def create_user(ctx: Ctx, body: CreateUserRequest) -> UserView:
    """Add a person to an account."""
    user = await users.create_user(ctx.transaction, body.account, body.email, body.role, body.name)
    return user_view(user)


async def get_user(ctx: Ctx, id: Id) -> UserView:
    """A person, by id."""
    return await _get_user_view(ctx, id)


async def update_user(ctx: Ctx, id: Id, body: UpdateUserRequest) -> UserView:
    """Change a person's role, or disable or enable them and their keys; both, or nothing."""
    account = await users.account_of_user(ctx.database, id)
    await users.update_user(ctx.transaction, account, id, role=body.role, disabled=body.disabled)
    return await _get_user_view(ctx, id)


async def _get_user_view(ctx: RequestContext, user_id: str) -> UserView:
    account = await users.account_of_user(ctx.database, user_id)
    return user_view(await users.get_user(ctx.database, account, user_id))
