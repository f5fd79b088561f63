"""What the help of the command line lists is there under that name."""

import pytest
import typer
from typer.testing import CliRunner

from gatewayz.cli import app

ROOT = typer.main.get_command(app)


def commands(command, words=()):
    """Every command and group: the words to type, what it is called in the help above it."""
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        inner = command.get_command(None, name)
        yield (*words, name), inner
        yield from commands(inner, (*words, name))


@pytest.mark.parametrize("words", [words for words, _ in commands(ROOT)], ids=" ".join)
def test_every_command_is_called_what_the_help_says_and_explains_itself(words):
    found = dict(commands(ROOT))[words]
    assert found.name == words[-1]
    done = CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "completion" not in done.output
