"""What commands print: whole cells, whatever is at the other end, and never as Python writes a value."""

import pytest

from gatewayz.cli.output import print_fields, print_table

LONG = "x" * 300


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"limits": {"account_rpm": 5, "key_rpm": 1}, "models": ("a", "b")}, "limits: account rpm=5; key rpm=1; models: a, b"),
        ({}, "–"),
        (None, "–"),
        (False, "no"),
        (True, "yes"),
        (frozenset({"a"}), "a"),
        ([{"a": 1}, {"b": None}], "a=1; b=–"),
        ({"inner": {"deep": [1, {"x": True}]}}, "inner: deep: 1; x=yes"),
        (LONG, LONG),
    ],
)  # fmt: skip
def test_a_value_reads_as_people_write_it(capsys, value, text):
    print_fields({"name": value}, as_json=False)
    assert capsys.readouterr().out == f"name  {text}\n"


@pytest.mark.parametrize("columns", ["20", "80", ""])
def test_no_cell_is_cut(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    print_table([{"id": LONG, "why": LONG}, {"id": "b", "why": ""}], as_json=False)
    first, second, third = capsys.readouterr().out.splitlines()
    assert second.count("x") == 600
    assert third.split() == ["b", "–"]
