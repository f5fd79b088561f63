"""`gatewayz users`: people of an account and their roles."""

from typing import Any, cast

import typer
from msgspec import structs

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_fields, print_note, print_table
from gatewayz.control import users
from gatewayz.core.access import HOUSE, Role

app = typer.Typer(
    add_completion=False,
    name="users",
    no_args_is_help=True,
    help="Add people to accounts, and set their roles.",
)

COLUMNS = ("id", "account", "email", "name", "role", "state")
Account = typer.Option(HOUSE, "--account", "-a", help="The account, by id or name.")
User = typer.Argument(help="The user, by id or e-mail address.")
RoleOption = typer.Option(
    "member", "--role", "-r", help="member or admin; operator or metrics in the account house."
)


def _user_row(user: users.User) -> dict[str, Any]:
    state = "active" if user.disabled_ms is None else "disabled"
    return structs.asdict(user) | {"state": state, "created": format_time(user.created_ms)}


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

    async def work(ctx: AdminContext) -> users.User:
        account_id = await ctx.account_id(account)
        return await users.create_user(ctx.transaction, account_id, email, cast(Role, role), name)

    print_fields(_user_row(run_with_store(config, data_dir, work)), as_json=as_json)


@app.command("list")
def list_users(
    account: str = Account, as_json: bool = Json, config: str = Config, data_dir: str = DataDir
) -> None:
    """List the people of an account."""

    async def work(ctx: AdminContext) -> list[users.User]:
        return await users.list_all_users(ctx.database, await ctx.account_id(account))

    rows = [_user_row(user) for user in run_with_store(config, data_dir, work)]
    print_table(rows, as_json=as_json, columns=COLUMNS)


@app.command("role")
def set_role(
    user: str = User,
    role: str = typer.Argument(help="The new role."),
    account: str = Account,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Give a person another role; their keys can do no more than the role allows."""

    async def work(ctx: AdminContext) -> None:
        account_id = await ctx.account_id(account)
        person = await users.get_user(ctx.database, account_id, user)
        await users.set_role(ctx.transaction, account_id, person.id, cast(Role, role))

    run_with_store(config, data_dir, work)
    print_note(f"{user} is {role}; running gateways know within two seconds.")


@app.command("disable")
def disable(
    user: str = User,
    account: str = Account,
    undo: bool = typer.Option(False, "--undo", help="Enable a disabled person again."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Refuse a person and all their keys."""

    async def work(ctx: AdminContext) -> None:
        account_id = await ctx.account_id(account)
        person = await users.get_user(ctx.database, account_id, user)
        change = users.enable_user if undo else users.disable_user
        await change(ctx.transaction, account_id, person.id)

    run_with_store(config, data_dir, work)
    state = "enabled" if undo else "disabled"
    print_note(f"{user} is {state}; running gateways know within two seconds.")
