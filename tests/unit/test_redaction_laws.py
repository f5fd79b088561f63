"""What a text of a provider carries to nobody: secrets whole, in part and in other spellings, and the request's own words."""

import base64
import html
import json
from typing import Any
from urllib.parse import quote

import pytest

from gatewayz.core.conversation import Message, Text
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.redaction import MASK, Redactor, cut_content
from gatewayz.core.requests import ChatRequest
from gatewayz.providers.error_classes import clean_fault

SECRET = "vault/of+Providers=42 & more\\end"
OTHER = "a-second-secret-that-is-shared"
TOKEN = "token-of-this-call-alone-77"
PROMPT = 'Tell nobody "that" my mother\nwas born in Trostburg, in the red tower'
REQUEST = ChatRequest(
    dialect="openai_chat", model="m", messages=(Message("user", (Text(PROMPT),)),)
)
SPELLINGS = {
    "plain": SECRET,
    "percent": quote(SECRET, safe=""),
    "html": html.escape(SECRET),
    "json": json.dumps(SECRET)[1:-1],
    "hex": SECRET.encode().hex(),
    "backwards": SECRET[::-1],
    **{
        f"base64 after {before!r}": base64.b64encode(f"{before}{SECRET}".encode()).decode()
        for before in ("", "x", "xy", "Bearer ")
    },
}
SHAPES = [
    "sk-proj-0123456789abcdef",
    "gw_live_0123456789abcdef",
    "AIzaSyA0123456789abcdef",
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    "Bearer abc.def",
    "somebody@example.com",
    "https://files.example/a?signature=0123",
    "postgres://user:password@host",
]


def pieces(text, size):
    return [text[at : at + size] for at in range(len(text) - size + 1)]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_masked_as_it_may_be_spelt(spelling):
    redactor = Redactor([OTHER, SECRET])
    text = SPELLINGS[spelling]
    for words in (text, f"the key {text} is wrong", f"{text}{text}"):
        cleaned = redactor.redact_words(words)
        assert MASK in cleaned
        assert not [piece for piece in pieces(text, 18) if piece in cleaned]


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_a_text_of_ours_holds_no_secret_either(secret):
    assert Redactor([OTHER, SECRET]).redact(f"<{secret}>") == f"<{MASK}>"


@pytest.mark.parametrize(("start", "end"), [(0, 12), (3, 15), (8, 30), (14, 32)])
def test_a_part_of_a_secret_is_masked(start, end):
    part = SECRET[start:end]
    assert part not in Redactor([SECRET]).redact_words(f"your key {part}... is wrong")


@pytest.mark.parametrize("text", SHAPES)
def test_what_has_the_shape_of_a_secret_is_masked_though_nobody_has_configured_it(text):
    redactor = Redactor()
    cleaned = redactor.redact(f"see {text} there")
    assert MASK in cleaned
    assert not [piece for piece in pieces(text, 14) if piece in cleaned]
    assert text not in redactor.redact_words(f"see {text} there")
    assert redactor.redact_name(text) == ""


@pytest.mark.parametrize("name", [OTHER, f"code:{OTHER}", f"{OTHER}.x"])
def test_a_name_that_holds_a_secret_is_no_name(name):
    assert Redactor([OTHER]).redact_name(name) == ""
    assert Redactor().redact_name(name) == name


@pytest.mark.parametrize("start", [0, 5, 20, 40])
@pytest.mark.parametrize(
    "spell",
    [str, lambda text: json.dumps(text)[1:-1], lambda text: text.replace("o", "\\u006f")],
    ids=["plain", "json", "escaped"],
)
def test_a_piece_of_the_request_is_cut_out_however_it_is_escaped(start, spell):
    piece = PROMPT[start : start + 27]
    words = f"cannot read: {spell(piece)} (unexpected)"
    for cleaned in (
        cut_content(words, [PROMPT]),
        Redactor().redact_words(words, REQUEST),
    ):
        assert not [part for part in pieces(spell(piece), 18) if part in cleaned]
        assert "cannot read" in cleaned


@pytest.mark.parametrize("place", ["message", "words", "type", "code", "param", "raw"])
def test_a_fault_that_is_cleaned_holds_neither_secret_nor_request(place):
    text = f"{OTHER} {TOKEN} {PROMPT}" if place in {"message", "words", "raw"} else OTHER
    fields: dict[str, Any] = {"message": "no", "type": "", "code": "", "param": "", "raw": b""}
    if place == "raw":
        fields["raw"] = text.encode()
    elif place != "message":
        fields["message" if place == "words" else place] = text
    fault = Fault(
        "upstream_rejected",
        text if place == "message" else "it refused",
        upstream=UpstreamError("openai_chat", 400, **fields),
    )
    cleaned = clean_fault(fault, Redactor([OTHER]), REQUEST, TOKEN)
    assert cleaned.upstream is not None
    seen = f"{cleaned.message} {cleaned.upstream}"
    for canary in (OTHER, TOKEN, "Trostburg", "red tower"):
        assert canary not in seen
    assert cleaned.upstream.raw == b""
