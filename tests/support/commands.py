"""The command line within the test's process: as people type it, without starting an interpreter for each command."""

import json

from typer.testing import CliRunner

from gatewayz.cli import app
from gatewayz.cli.errors import error_sentence
from tests.support.databases import url_of


class Commands:
    """Runs `gatewayz …` on one store, from one data directory."""

    def __init__(self, location, data_dir):
        self._given = {
            "GATEWAYZ_DATABASE__URL": url_of(location),
            "GATEWAYZ_DATA_DIR": str(data_dir),
            "GATEWAYZ_CONFIG": "",
        }

    def __call__(self, *words, status=0, given=None):
        """What was printed; a fault is its sentence, as `main` prints it, with exit status 2.

        `given` is what standard input has.
        """
        done = CliRunner().invoke(app, list(words), env=self._given, input=given)
        sentence = error_sentence(done.exception) if done.exception is not None else None
        if sentence is not None:
            assert status == 2, done.exception
            return f"gatewayz: {sentence}"
        assert done.exit_code == status, (done.output, done.exception)
        return done.stdout + done.stderr

    def json(self, *words, status=0):
        done = CliRunner().invoke(app, [*words, "--json"], env=self._given)
        assert done.exit_code == status, (done.output, done.exception)
        return json.loads(done.stdout)


def run_in_process(*words, env=None):
    """The exit status and all that was printed, as `main` would; a mistake of ours is raised."""
    done = CliRunner().invoke(app, list(words), env={"GATEWAYZ_CONFIG": "", **(env or {})})
    if done.exception is None or isinstance(done.exception, SystemExit):
        return done.exit_code, done.stdout + done.stderr
    sentence = error_sentence(done.exception)
    if sentence is None:
        raise done.exception
    return 2, f"{done.stdout}{done.stderr}gatewayz: {sentence}"
