"""A visit: one request to the control plane, who makes it, and what it works with."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from gatewayz.catalog.merge import Listing, Lists
from gatewayz.catalog.naming import Shelf
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.ports.replays import Claim
from gatewayz.store.sql.calls import Whose
from gatewayz.store.sql.commits import GroupCommit
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.idempotency import SqlClaims
from gatewayz.web.api.turns import Turns

SCOPE = "gatewayz"
"""Where a visit is in the ASGI scope."""


class Office(Struct, frozen=True, kw_only=True):
    """What the control plane works with: the desk where things are changed, the ledger's queue, what is sold."""

    desk: Desk
    commits: GroupCommit
    claims: SqlClaims
    shelf: Shelf
    lists: Lists
    listings: Callable[[], Mapping[str, Listing]]
    breakers: Callable[[], Mapping[tuple[str, str], str]]
    look: Callable[[], Awaitable[None]]
    """Takes over at once what was set in the store; every other process does so within a second."""
    private_webhooks: bool = False
    """Whether notices may go to addresses that are not public, and without TLS."""
    exports: Turns = field(default_factory=lambda: Turns(most=8, of_one=2))


class Visitor(Struct, frozen=True):
    """Who asks, and under which id. `principal` is empty on pages for anybody."""

    principal: Principal | None
    call_id: str
    claim: Claim | None = None
    """The key that the client gave the request, if it did and the request does something."""


class Visit(Struct, frozen=True):
    """Who asks, and the office that answers."""

    office: Office
    visitor: Visitor

    @property
    def who(self) -> Principal:
        """Faults: `unauthenticated` on a page for anybody, where nobody is known."""
        if self.visitor.principal is None:
            raise Fault("unauthenticated", "No API key was given.")
        return self.visitor.principal

    @property
    def database(self) -> Database:
        return self.office.desk.database

    @property
    def now_ms(self) -> int:
        return self.office.desk.clock.wall_ms()

    @property
    def desk(self) -> Desk:
        """The desk, with this key as whoever changes something, once for each claim."""
        return replace(self.office.desk, actor=f"key:{self.who.key}", claim=self.visitor.claim)

    def named(self, given: str | None) -> str:
        """The name under which money moves once: the one that was given, or the claim's, or none."""
        claim = self.visitor.claim
        return given or (claim.name if claim is not None else "")

    @property
    def keeps_account(self) -> bool:
        """Whether all that is the account's may be seen, and not the key's own alone."""
        return not self.who.scopes.isdisjoint({"account", "operator"})

    @property
    def whose(self) -> Whose:
        """The calls that may be seen: the account's, or those of this person or this key."""
        who = self.who
        if self.keeps_account:
            return Whose(who.account)
        return Whose(who.account, user=who.user) if who.user else Whose(who.account, key=who.key)
