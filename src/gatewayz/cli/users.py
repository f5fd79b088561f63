"""`gatewayz users`: people of an account and their roles."""

from typing import Any, cast

import typer
from msgspec import structs

from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, note, say, say_one
from gatewayz.cli.spelling import shown_time
from gatewayz.core.access import HOUSE, Role
from gatewayz.store.sql import accounts, users

app = typer.Typer(
    name="users", no_args_is_help=True, help="Add people to accounts, and set their roles."
)

COLUMNS = ("id", "account", "email", "name", "role", "state")
Account = typer.Option(HOUSE, "--account", "-a", help="The account, by id or name.")
User = typer.Argument(help="The user, by id or e-mail address.")
RoleOption = typer.Option(
    "member", "--role", "-r", help="member or admin; operator or metrics in the account house."
)


def _shown(user: users.User) -> dict[str, Any]:
    state = "active" if user.disabled_ms is None else "disabled"
    return structs.asdict(user) | {"state": state, "created": shown_time(user.created_ms)}


@app.command("create")
def create(
    email: str,
    account: str = Account,
    role: str = RoleOption,
    name: str = typer.Option("", "--name", "-n"),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Add a person to an account."""

    async def work(office: Office) -> users.User:
        found = await accounts.found(office.desk.database, account)
        return await users.create(office.desk, found, email, cast(Role, role), name)

    say_one(_shown(at_office(config, data_dir, work)), as_json=as_json)


@app.command("list")
def listing(
    account: str = Account, as_json: bool = Json, config: str = Config, data_dir: str = DataDir
) -> None:
    """List the people of an account."""

    async def work(office: Office) -> list[users.User]:
        return await users.listed(
            office.desk.database, await accounts.found(office.desk.database, account)
        )

    say(
        [_shown(one) for one in at_office(config, data_dir, work)], as_json=as_json, columns=COLUMNS
    )


@app.command("role")
def role(
    user: str = User,
    role: str = typer.Argument(help="The new role."),
    account: str = Account,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Give a person another role; their keys can do no more than it allows."""

    async def work(office: Office) -> None:
        found = await accounts.found(office.desk.database, account)
        person = await users.one(office.desk.database, found, user)
        await users.set_role(office.desk, found, person.id, cast(Role, role))

    at_office(config, data_dir, work)
    note(f"{user} is {role}; running gateways know within two seconds.")


@app.command("disable")
def disable(
    user: str = User,
    account: str = Account,
    undo: bool = typer.Option(False, "--undo", help="Let a disabled person go on."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Refuse a person and all their keys."""

    async def work(office: Office) -> None:
        found = await accounts.found(office.desk.database, account)
        person = await users.one(office.desk.database, found, user)
        await (users.enable if undo else users.disable)(office.desk, found, person.id)

    at_office(config, data_dir, work)
    note(
        f"{user} is {'enabled' if undo else 'disabled'}; running gateways know within two seconds."
    )
