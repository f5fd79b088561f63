"""The page of the API: its files are the package's own, under a policy that lets nothing else in; its document shows the model
endpoints that there are, with examples that work as they stand and errors as clients get them.
"""

import asyncio
import gzip
import hashlib
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from gatewayz.dialects.registry import CLIENTS
from gatewayz.web.api.model_operations import OPERATIONS
from gatewayz.web.api.openapi import file_hashes, gzip_of_file
from tests.support.control_plane import run_control_plane

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FILES = {
    "/docs": "text/html",
    "/docs/start.js": "text/javascript",
    "/docs/swagger-ui.css": "text/css",
    "/docs/swagger-ui-bundle.js": "text/javascript",
}


@pytest.fixture
def kind():
    """One database is enough: nothing is stored."""
    return "sqlite"


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


def policy_of(answer):
    directives = answer.headers["content-security-policy"].split(";")
    return {name: set(values) for name, *values in (each.split() for each in directives)}


class PageParser(HTMLParser):
    """What a page loads, and what stands in it that a strict policy forbids."""

    def __init__(self):
        super().__init__()
        self.loaded, self.inline, self._open = [], [], ""

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.loaded += [values[name] for name in ("src", "href") if values.get(name)]
        self.inline += [name for name in values if name.startswith("on") or name == "style"]
        self._open = tag if tag in {"script", "style"} else ""

    def handle_data(self, data):
        if self._open and data.strip():
            self.inline.append(self._open)


async def test_everything_that_the_page_loads_is_served_and_allowed(control_plane):
    for path, media_type in FILES.items():
        answer = await control_plane.nobody("GET", path)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = policy_of(answer)
        assert policy["default-src"] == {"'none'"}
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == {"'self'"}
        assert "unsafe" not in answer.headers["content-security-policy"]

    parser = PageParser()
    parser.feed((await control_plane.nobody("GET", "/docs")).text)
    assert parser.inline == []
    assert {path for path in parser.loaded if path != "data:,"} == {
        *FILES.keys() - {"/docs"},
        "/openapi.json",
    }


@pytest.mark.parametrize("name", sorted(file_hashes()))
async def test_a_file_is_the_one_that_was_packed_and_is_sent_once(control_plane, name):
    whole = gzip.decompress(gzip_of_file(name))
    assert hashlib.sha256(whole).hexdigest() == file_hashes()[name]
    plain = await control_plane.nobody("GET", f"/docs/{name}")
    assert plain.text.encode() == whole
    tag = plain.headers["etag"]
    again = await control_plane.nobody("GET", f"/docs/{name}", If_None_Match=tag)
    assert (again.status, again.text) == (304, "")


def test_the_licences_are_beside_what_they_are_of():
    folder = files("gatewayz.web.api") / "swagger_ui"
    assert "Apache License" in folder.joinpath("LICENSE").read_text()
    assert "swagger-ui" in folder.joinpath("NOTICE").read_text()
    assert folder.joinpath("swagger-ui-bundle.js.LICENSE.txt").is_file()


async def test_the_document_has_the_model_endpoints_that_there_are(control_plane):
    document = await control_plane.nobody.get("/openapi.json")
    assert set(OPERATIONS) == set(CLIENTS)
    names = [item["operationId"] for path in document["paths"].values() for item in path.values()]
    assert len(names) == len(set(names))
    for path in OPERATIONS:
        assert document["paths"][path]["post"]["tags"] == ["models"]


@pytest.mark.parametrize("path", OPERATIONS)
async def test_an_example_works_as_it_stands_and_its_answer_has_that_shape(control_plane, path):
    operation = OPERATIONS[path]
    answer = await control_plane.operator("POST", path, operation.example)
    assert answer.status == 200, answer.text
    assert operation.answer.keys() <= answer.json().keys()
    assert operation.example.keys() <= operation.fields.keys()
    assert set(operation.required) <= operation.example.keys() | {"prompt"}


async def test_errors_of_the_document_are_as_clients_get_them(control_plane):
    document = await control_plane.nobody.get("/openapi.json")
    for path, operation in OPERATIONS.items():
        responses = document["paths"][path]["post"]["responses"]
        for status, caller, body in (
            ("401", control_plane.nobody, operation.example),
            ("404", control_plane.operator, {**operation.example, "model": "no-such-model"}),
            ("400", control_plane.operator, {"model": "simulator/echo"}),
        ):
            answer = await caller("POST", path, body)
            assert str(answer.status) == status, answer.text
            example = responses[status]["content"]["application/json"]["example"]
            assert shape_of(answer.json()) == shape_of(example)
        statuses = {"400", "401", "402", "403", "404", "413", "429"}
        assert statuses <= responses.keys()
        assert len(responses.keys() - statuses) == 2  # the answer, and no provider


def shape_of(error):
    """The names of an error, but for those that only some have."""
    inner = {name for name in error["error"] if name not in {"param", "code", "details"}}
    return set(error) - {"request_id"}, inner


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed here to render the page")
async def test_a_browser_shows_the_operations_and_breaks_no_policy(control_plane, tmp_path):
    ran = await asyncio.create_subprocess_exec(
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0"),
        *("--virtual-time-budget=20000", "--dump-dom", f"{control_plane.gateway.url}/docs"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, errors = await ran.communicate()
    page = out.decode()
    assert 'id="operations-models-create_chat_completion"' in page
    assert 'id="operations-admin-list_accounts"' in page
    assert re.findall(r".*(?:Content Security Policy|Uncaught).*", errors.decode()) == []
