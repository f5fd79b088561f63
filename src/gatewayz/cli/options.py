"""Options that many commands have, said once."""

import typer

Config = typer.Option("", "--config", "-c", help="The configuration file.")
DataDir = typer.Option(None, "--data-dir", help="Where database, journal and secret are kept.")
Json = typer.Option(False, "--json", help="Print JSON.")
