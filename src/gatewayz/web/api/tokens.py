"""`/v1/tokens`: short-lived tokens for web pages. A token is shown when it is minted, and never again."""

from typing import Annotated, Literal

from pydantic import Field

from gatewayz.store.sql import tokens
from gatewayz.store.sql.keys import Owner
from gatewayz.store.sql.tokens import Token, TokenWish
from gatewayz.web.api.shapes import (
    Done,
    Given,
    Here,
    Id,
    Listed,
    Name,
    Shown,
    Sliced,
    Usd,
    UsdGiven,
    nanos,
    sliced,
    usd,
)
from gatewayz.web.api.visit import Visit

Origin = Annotated[str, Field(max_length=200, examples=["https://app.example.com"])]
Model = Annotated[str, Field(min_length=1, max_length=200)]


class TokenShown(Shown):
    """A token without its secret. `models` that are empty restrict it to its key's; `limit` is what it may cost."""

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


class TokenMade(TokenShown):
    """A new token: `secret` is shown this once."""

    secret: str


class TokenGiven(Given):
    """What a new token shall be: from which pages it may be used, and how far it reaches within its key."""

    origins: Annotated[list[Origin], Field(min_length=1, max_length=tokens.MAX_ORIGINS)]
    name: Name = ""
    models: Annotated[list[Model], Field(max_length=tokens.MAX_MODELS)] = []
    limit: UsdGiven | None = None
    expires_in_s: Annotated[int, Field(ge=1, le=tokens.MAX_TTL_S)] = tokens.USUAL_TTL_S


def _shown(token: Token, now_ms: int) -> TokenShown:
    own = {
        name: getattr(token, name)
        for name in ("id", "account", "key", "name", "expires_ms", "created_ms", "revoked_ms")
    }
    return TokenShown(
        **own,
        token=token.shown,
        state=token.state(now_ms),
        origins=list(token.origins),
        models=list(token.models),
        limit=None if token.limit is None else usd(token.limit),
        limit_nanos=token.limit,
        spent=None if token.spent is None else usd(token.spent),
        spent_nanos=token.spent,
    )


def _owner(here: Visit) -> Owner:
    """Whose tokens may be seen and ended: the account's, this person's, or this key's."""
    who = here.who
    return Owner(who.account) if here.keeps_account else Owner(who.account, who.user, who.key)


async def mint(here: Here, given: TokenGiven) -> TokenMade:
    """Mint a token for a web page: for calls and the list of models, never more than this key may do."""
    wish = TokenWish(
        account=here.who.account,
        key=here.who.key,
        name=given.name,
        origins=tuple(given.origins),
        models=tuple(given.models),
        ttl_s=given.expires_in_s,
        limit=None if given.limit is None else nanos(given.limit),
    )
    secret, made = await tokens.mint(here.desk, wish)
    return TokenMade(secret=secret, **_shown(made, here.now_ms).model_dump())


async def several(here: Here, cut: Sliced) -> Listed[TokenShown]:
    """The tokens of the account, or those of this person or this key; the oldest first."""
    found, more = await tokens.several(here.database, _owner(here), cut)
    return sliced(more, [_shown(one, here.now_ms) for one in found])


async def revoke(here: Here, id: Id) -> Done:
    """End a token before its time; it is refused everywhere within two seconds."""
    await tokens.revoke(here.desk, _owner(here), id)
    return Done(id=id, object="token")
