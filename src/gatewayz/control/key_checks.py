"""What a key may have: scopes and networks that there are, and only what its owner can give."""

from collections.abc import Collection, Sequence
from ipaddress import ip_network

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.access import SCOPES, effective_scopes
from gatewayz.core.faults import Fault
from gatewayz.store.sql.tables import ACCOUNTS, USERS


def check_scopes(scopes: Collection[str]) -> None:
    """A key has a scope, and only scopes that there are. Faults: `bad_request`."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise Fault(
            "bad_request", f"Scopes are {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}."
        )


def check_addresses(addresses: Sequence[str]) -> None:
    """The networks that a key may be used from are networks. Faults: `bad_request`."""
    for address in addresses:
        try:
            ip_network(address, strict=False)
        except ValueError:
            message = (
                f"{address!r} is neither an address nor a network, "
                "such as 203.0.113.7 or 2001:db8::/32."
            )
            raise Fault("bad_request", message) from None


async def check_owner(
    connection: AsyncConnection, account: str, user: str, scopes: Collection[str]
) -> None:
    """Whether an account, or a person of it, is there and may give a key these scopes.

    Faults: `not_found`, `forbidden` for scopes beyond the person's role or the account.
    """
    accounts = select(func.count()).where(ACCOUNTS.c.id == account)
    if not (await connection.execute(accounts)).scalar():
        raise Fault("not_found", f"There is no account {account[:64]!r}.")

    role = ""
    if user:
        person = select(USERS.c.role).where(
            USERS.c.account_id == account, USERS.c.id == user, USERS.c.disabled_ms.is_(None)
        )
        role = str((await connection.execute(person)).scalar() or "")
        if not role:
            raise Fault("not_found", f"The account has no user {user[:64]!r}.")

    beyond = sorted(set(scopes) - effective_scopes(account, role, scopes))
    if beyond:
        owner = f"a {role}'s key" if role else "a key outside the account house"
        raise Fault("forbidden", f"The scope {', '.join(beyond)} is more than {owner} can have.")
