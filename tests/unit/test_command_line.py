"""The command line as a whole: the same words for the same things on every command."""

import click
import pytest
import typer
from typer.testing import CliRunner

from gatewayz import __version__
from gatewayz.cli import app

SHOWING = {
    "list", "show", "check", "report", "verify", "tail", "notifications", "usage", "keys",
    "doctor", "settings", "models", "providers",
}  # fmt: skip
"""The last word of a command that shows something."""


def commands(command=None, words=(), parent=None):
    """Every visible command, as its words and what it takes."""
    command = command or typer.main.get_command(app)
    if command.hidden:
        return
    options = {option for parameter in command.params for option in parameter.opts}
    if words:
        yield words, options
    if hasattr(command, "list_commands"):
        context = click.Context(command, info_name="gatewayz", parent=parent)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*words, name), context)


EVERY = dict(commands())


def test_what_reads_settings_takes_both_a_file_and_a_data_directory():
    reading = {words for words, options in EVERY.items() if "--config" in options}
    assert len(reading) > 40
    for words in reading:
        assert "--data-dir" in EVERY[words], words


def test_what_shows_something_shows_it_to_programs_too():
    showing = {
        words for words, options in EVERY.items() if words[-1] in SHOWING and "--config" in options
    }
    assert len(showing) > 15
    for words in showing:
        assert "--json" in EVERY[words], words


@pytest.mark.parametrize(
    "words", [(), ("serve",), ("models",), ("keys",), ("keys", "create"), ("credits", "topup")]
)
def test_help_is_had_by_either_word(words):
    shown = [CliRunner().invoke(app, [*words, help_word]) for help_word in ("-h", "--help")]
    assert [done.exit_code for done in shown] == [0, 0]
    assert shown[0].stdout == shown[1].stdout
    assert "Usage: gatewayz" in shown[0].stdout


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["version"]])
def test_the_version_is_had_by_each_usual_word(words):
    assert CliRunner().invoke(app, words).stdout == f"gatewayz {__version__}\n"
