"""A request to the control plane: who makes it, and what the control plane answers it with."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.control.access import OwnerFilter
from gatewayz.control.concurrency import ConcurrencyLimit
from gatewayz.control.idempotency import SqlClaims
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.ports.replays import Claim
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.ledger.group_commit import GroupCommit


class ControlContext(Struct, frozen=True, kw_only=True):
    """What the control plane works with: transactions, the ledger's queue, the catalog.

    `transaction` has no actor of its own yet; each request has its copy, with who makes it.
    """

    transaction: ControlTransaction
    commits: GroupCommit
    claims: SqlClaims
    catalog: Catalog
    lists: CatalogSources
    listings: Callable[[], Mapping[str, Listing]]
    breakers: Callable[[], Mapping[tuple[str, str], str]]
    refresh_catalog: Callable[[], Awaitable[None]]
    """Reads at once what was set in the store; every other process does so within a second."""
    allow_private_webhooks: bool = False
    """Whether notifications may go to addresses that are not public, and without TLS."""
    exports: ConcurrencyLimit = field(
        default_factory=lambda: ConcurrencyLimit(max_total=8, max_per_account=2)
    )


class Caller(Struct, frozen=True):
    """Who makes a request, and under which id. `principal` is `None` where no key is needed.

    Example: `Caller(Principal(account="acme", key="01JD…"), call_id="01JE…")`.
    """

    principal: Principal | None
    call_id: str
    claim: Claim | None = None
    """The client's Idempotency-Key for the request, if it sent one and the request has effects."""


class RequestContext(Struct, frozen=True):
    """Who makes a request, and what it is answered with."""

    control: ControlContext
    caller: Caller

    @property
    def principal(self) -> Principal:
        """Faults: `unauthenticated` where no key was needed, so that nobody is known."""
        if self.caller.principal is None:
            raise Fault("unauthenticated", "No API key was sent.")
        return self.caller.principal

    @property
    def account(self) -> str:
        """The id of the caller's account. Faults: `unauthenticated`."""
        return self.principal.account

    @property
    def database(self) -> Database:
        return self.control.transaction.database

    @property
    def now_ms(self) -> int:
        return self.control.transaction.clock.wall_ms()

    @property
    def transaction(self) -> ControlTransaction:
        """A transaction of which this key is the actor, and which is done once for each claim."""
        return replace(
            self.control.transaction, actor=f"key:{self.principal.key}", claim=self.caller.claim
        )

    def movement_name(self, name: str | None) -> str:
        """The name under which money moves once: the client's, or the claim's, or none."""
        claim = self.caller.claim
        return name or (claim.name if claim is not None else "")

    @property
    def has_account_scope(self) -> bool:
        """Whether the key may see all that is its account's, and not only what is its own."""
        return not self.principal.scopes.isdisjoint({"account", "operator"})

    @property
    def owner(self) -> OwnerFilter:
        """Whose keys, tokens and calls may be seen: the account's, this person's, or this key's."""
        principal = self.principal
        if self.has_account_scope:
            return OwnerFilter(principal.account)
        if principal.user:
            return OwnerFilter(principal.account, user=principal.user)
        return OwnerFilter(principal.account, key=principal.key)
