"""What a command cannot use is a sentence with the place and what to do, never a traceback or a part of a password."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatewayz.cli.errors import error_sentence
from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import location_from_url
from tests.support.commands import run_in_process

NOBODY = 65_534


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
    return tmp_path


COMMANDS = [
    ("serve", "--port", "0"),
    ("doctor",),
    ("keys", "list"),
    ("migrate",),
    ("backup", "b.gz"),
]


def wrong_postgres_urls(url):
    """What is wrong → a URL that is wrong in this."""
    host = url.partition("@")[2].partition("/")[0]
    return {
        "password": f"postgresql://stranger:s3cr3t-pass@{host}/gatewayz",
        "database": url.rpartition("/")[0] + "/nowhere",
        "role": f"postgresql://nobody-here@{host}/postgres",
        "port": "postgresql://gatewayz:s3cr3t-pass@127.0.0.1:1/gatewayz",
        "host": "postgresql://gatewayz:s3cr3t-pass@no-such-host.invalid/gatewayz",
        "option": f"postgresql://gatewayz:s3cr3t-pass@{host}/gatewayz?sslmode=never",
    }


@pytest.mark.parametrize("what", ["password", "database", "role", "port", "host", "option"])
def test_a_postgresql_that_cannot_be_used_is_named_without_the_password(what, databases, place):
    url = wrong_postgres_urls(databases.server.dsn("postgres"))[what]
    for words in (*COMMANDS, ("move", "--to", "sqlite:///other.db")):
        status, output = run_in_process(*words, env={"GATEWAYZ_DATABASE__URL": url})
        output = " ".join(output.split())
        assert status == (1 if words == ("doctor",) else 2), output
        assert "s3cr3t" not in output
        if words != ("move", "--to", "sqlite:///other.db"):
            assert "The store cannot be used: postgresql://" in output
            assert url.rpartition("@")[2].partition("?")[0] in output


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gatewayz:s3@cr3t@db.example/gatewayz",
        "postgresql://gatewayz:s3/cr3t@db.example/gatewayz",
        "postgresql://gatewayz:s3?cr3t@db.example/gatewayz",
        "postgresql://gatewayz:s3#cr3t@db.example/gatewayz",
        "postgresql://gatewayz:12/cr3t@db.example/gatewayz",
        "postgresql://gatewayz:s3:cr3t@db.example/gatewayz",
        "postgresql://gatewayz:cr3t@db.example:port/gatewayz",
        "s3cr3t",
        "mysql://root:s3cr3t@db.example/x",
        "sqlite://s3cr3t.db",
        "sqlite:///",
    ],
)
def test_a_url_that_is_misread_is_refused_without_any_part_of_it(url):
    with pytest.raises(Fault) as refused:
        location_from_url(url, "data")
    assert "cr3t" not in refused.value.operator_message
    assert "database.url" in refused.value.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gatewayz:s3%40cr3t@db.example:5432/gatewayz",
        "postgres://gatewayz:s3cr3t@[::1]:5432/gatewayz?application_name=a@b",
        "postgresql+asyncpg://db.example/gatewayz?password=s3cr3t&user=x",
    ],
)
def test_what_is_shown_of_a_url_has_no_password(url):
    shown = location_from_url(url, "data").shown
    assert "cr3t" not in shown
    assert "***" not in shown
    assert shown.endswith("/gatewayz")


@contextmanager
def as_nobody():
    """As a user who owns nothing here; only root can become one."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def spoil(what, place):
    data = place / "data"
    match what:
        case "a file in the folder's place":
            data.write_text("")
        case "a folder in the file's place":
            (data / "gatewayz.db").mkdir(parents=True)
        case "a file that is no database":
            data.mkdir()
            (data / "gatewayz.db").write_text("no database at all" * 100)
        case "a folder in the secret's place":
            (data / "secret").mkdir(parents=True)
        case "a secret that is no text":
            data.mkdir()
            (data / "secret").write_bytes(b"\xff\xfe")
        case "a .env that is not UTF-8":
            (place / ".env").write_bytes(b"OK=1\nOPENAI_API_KEY=sk-s3cr3t-\xff\n")
        case "a .env that is a folder":
            (place / ".env").mkdir()
        case "a configuration that is not UTF-8":
            (place / "gatewayz.yaml").write_bytes(b"web: {host: '\xff'}\n")


SPOILED = {
    "a file in the folder's place": "data",
    "a folder in the file's place": "gatewayz.db",
    "a file that is no database": "not a database",
    "a folder in the secret's place": "secret",
    "a secret that is no text": "secret",
    "a .env that is not UTF-8": ".env is not UTF-8: byte 0xff in line 2",
    "a .env that is a folder": ".env",
    "a configuration that is not UTF-8": "gatewayz.yaml",
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_file_that_cannot_be_used_is_named_with_what_to_do(what, place):
    spoil(what, place)
    for words in COMMANDS:
        status, output = run_in_process(*words)
        assert "s3cr3t" not in output
        if words[0] == "serve":
            assert status == 2
            assert SPOILED[what] in output


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("what", ["the folder", "the file", "the secret", "the place itself"])
def test_what_this_user_may_not_read_or_write_is_named_with_what_to_do(what, monkeypatch):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        monkeypatch.chdir(place)
        monkeypatch.setenv("GATEWAYZ_OBSERVE__LOG", "off")
        run_in_process("migrate")
        # With the rights of root once: what is imported by then is not read again.
        for words in COMMANDS[1:3]:
            run_in_process(*words)
        run_in_process("keys", "create")
        check_as_nobody(what, Path(place))


def check_as_nobody(what, place):
    data = place / "data"
    match what:
        case "the file":
            data.chmod(0o777)
        case "the secret":
            data.chmod(0o777)
            (data / "gatewayz.db").chmod(0o666)
        case "the place itself":
            data.rename(place / "away")
    for words in (COMMANDS[0], COMMANDS[2]):
        with as_nobody():
            status, output = run_in_process(*words)
        if words[0] == "serve":
            assert status == 2
            assert str(data) in output
            assert "data_dir" in output


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            PermissionError(13, "Permission denied", "/data/gatewayz.db"),
            "/data/gatewayz.db: permission denied; run as the user",
        ),
        (
            OSError(28, "No space left on device", "/data/x"),
            "/data/x: no space left on device; free some space",
        ),
        (FileNotFoundError(2, "No such file or directory", "a", None, "b"), "a → b: no such file"),
        (OSError("something else"), "something else."),
        (b"abc\n\xe4".decode, "byte 0xe4 in line 2"),
        (
            Fault("unavailable", "The store cannot be used.", detail="db: it is away"),
            "The store cannot be used: db: it is away",
        ),
    ],
)
def test_every_error_that_a_user_can_act_on_has_a_sentence(error, sentence):
    if callable(error):
        with pytest.raises(UnicodeError) as caught:
            error("utf-8")
        error = caught.value
    assert sentence in error_sentence(error)


def test_a_mistake_of_ours_keeps_its_traceback():
    assert error_sentence(KeyError("x")) is None
    assert error_sentence(ZeroDivisionError()) is None
