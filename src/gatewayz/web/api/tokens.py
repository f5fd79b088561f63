"""`/v1/tokens`: short-lived tokens for web pages. A token is shown when it is made, never again."""

from typing import Annotated, Literal

from pydantic import Field

from gatewayz.control import tokens
from gatewayz.control.tokens import Token, TokenSpec
from gatewayz.core.money import nanos_from_usd
from gatewayz.web.api.shapes import (
    Ctx,
    DeleteResponse,
    Id,
    ListResponse,
    Name,
    PageCursor,
    RequestModel,
    ResponseModel,
    Usd,
    UsdAmount,
    list_response,
    usd_or_none,
)

Origin = Annotated[str, Field(max_length=200, examples=["https://app.example.com"])]
Model = Annotated[str, Field(min_length=1, max_length=200)]


class TokenView(ResponseModel):
    """A token without its secret. Without `models` its key's hold; `limit` is what it may cost."""

    id: str
    object: Literal["token"] = "token"
    account: str
    key: str
    token: str
    name: str
    state: str
    origins: list[str]
    models: list[str]
    limit: Usd | None
    limit_nanos: int | None
    spent: Usd | None
    spent_nanos: int | None
    expires_ms: int
    created_ms: int
    revoked_ms: int | None


class TokenWithSecret(TokenView):
    """A new token: `secret` is shown this once."""

    secret: str


class CreateTokenRequest(RequestModel):
    """A new token: the pages it may be used from, and how far it reaches within its key."""

    origins: Annotated[list[Origin], Field(min_length=1, max_length=tokens.MAX_ORIGINS)]
    name: Name = ""
    models: Annotated[list[Model], Field(max_length=tokens.MAX_MODELS)] = []
    limit: UsdAmount | None = None
    expires_in_s: Annotated[int, Field(ge=1, le=tokens.MAX_TTL_S)] = tokens.DEFAULT_TTL_S


def token_view(token: Token, now_ms: int) -> TokenView:
    """A token as it is shown."""
    same = ("id", "account", "key", "name", "expires_ms", "created_ms", "revoked_ms")
    return TokenView(
        **{name: getattr(token, name) for name in same},
        token=token.shown,
        state=token.state(now_ms),
        origins=list(token.origins),
        models=list(token.models),
        limit=usd_or_none(token.limit),
        limit_nanos=token.limit,
        spent=usd_or_none(token.spent),
        spent_nanos=token.spent,
    )


async def create_token(ctx: Ctx, body: CreateTokenRequest) -> TokenWithSecret:
    """Make a token for a web page: for calls and the model list, within what this key may do."""
    spec = TokenSpec(
        account=ctx.account,
        key=ctx.principal.key,
        name=body.name,
        origins=tuple(body.origins),
        models=tuple(body.models),
        ttl_s=body.expires_in_s,
        limit=None if body.limit is None else nanos_from_usd(body.limit),
    )
    secret, token = await tokens.create_token(ctx.transaction, spec)
    return TokenWithSecret(secret=secret, **token_view(token, ctx.now_ms).model_dump())


async def list_tokens(ctx: Ctx, cursor: PageCursor) -> ListResponse[TokenView]:
    """The tokens of the account, or those of this person or this key; the oldest first."""
    rows, page = await tokens.list_tokens(ctx.database, ctx.owner, cursor)
    return list_response(page, [token_view(token, ctx.now_ms) for token in rows])


async def revoke_token(ctx: Ctx, id: Id) -> DeleteResponse:
    """Revoke a token before its time; it is refused everywhere within two seconds."""
    await tokens.revoke_token(ctx.transaction, ctx.owner, id)
    return DeleteResponse(id=id, object="token")
