"""JSON that is nested too deep in what a provider sends ends that answer alone, in the client's dialect."""

import json
from functools import partial

import aiohttp
import pytest

from tests.support.scripted_upstream import FINE, ScriptedAnswer, run_scripted_gateway

DEPTH = 100_000
ALMOST = 960
"""One reader goes down so far, and another does not."""
HI = [{"role": "user", "content": "Hello there"}]
FORMS = {
    "lists": "[" * DEPTH + "]" * DEPTH,
    "objects": '{"a":' * DEPTH + "1" + "}" * DEPTH,
    "never closed": "[" * DEPTH,
    "almost": "[" * ALMOST + "]" * ALMOST,
    "both": '[{"a":' * DEPTH + "1" + "}]" * DEPTH,
}
"""Values that no reader goes down into."""
PLACES = ("beside", "content", "usage")
PATIENT = {"breaker": {"failures": 1_000_000, "window_outcomes": 1_000_000}}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}


def break_json(text, place, form):
    """The JSON of an object with a nested value in it: beside all else, as content, in usage."""
    nested = FORMS[form]
    if place == "beside":
        return '{"junk":' + nested + "," + text[1:]
    value = json.loads(text)
    hole = "H0LE"
    if not _dig(value, place, hole):
        return '{"junk":' + nested + "," + text[1:]
    return json.dumps(value).replace(f'"{hole}"', nested)


def _dig(value, place, hole):
    """Puts the hole in the first place that fits; whether there was one."""
    names = {"content": ("content", "text", "delta"), "usage": ("usage", "usageMetadata")}[place]
    if isinstance(value, dict):
        for name in names:
            if name in value:
                value[name] = hole
                return True
        return any(_dig(inner, place, hole) for inner in value.values())
    return isinstance(value, list) and any(_dig(inner, place, hole) for inner in value)


def nested_script(dialect, place, form, number):
    """The plain answer of the dialect, whose event with this number (or whole body) is nested."""

    def script(request):
        plain = FINE[dialect](request)
        if plain.content_type == "application/json":
            return plain._replace(body=break_json(plain.body.decode(), place, form).encode())
        events = plain.body.decode().split("\n\n")
        at = min(number, len(events) - 2)
        while not events[at].partition("data: ")[2].startswith("{"):
            at -= 1
        head, data, text = events[at].partition("data: ")
        events[at] = head + data + break_json(text, place, form)
        return ScriptedAnswer("\n\n".join(events).encode(), content_type="text/event-stream")

    return script


async def ask(gateway, api, streamed):
    body = {"model": "test/model", "messages": HI, "stream": streamed, "max_tokens": 50}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            gateway.url + PATHS[api], json=body, headers={"Authorization": f"Bearer {gateway.key}"}
        ) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize("dialect", FINE)
@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("form", FORMS)
async def test_a_frame_that_is_nested_too_deep_ends_its_answer_alone(tmp_path, dialect, api, form):
    async with run_scripted_gateway(tmp_path, dialect, routing=PATIENT) as here:
        gateway = here.gateway
        for streamed in (False, True):
            for place in PLACES:
                for number in range(3):
                    here.upstream.script = nested_script(dialect, place, form, number)
                    status, text = await ask(gateway, api, streamed)
                    assert status in {200, 502}, (status, text[:300], place, number)
                    assert gateway.last.fault in {"", "upstream_broken"}, (place, number)
                    assert "internal" not in text.lower()[:2_000], text[:300]
                    if status == 502 or gateway.last.fault:
                        assert "error" in text
                    assert len(text) < 10_000
        here.upstream.script = FINE[dialect]
        status, text = await ask(gateway, api, False)
        assert status == 200, text
        assert "Fine." in text
        await gateway.wait_until_idle()


def answer_all(answer, request):
    return answer


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("dialect", FINE)
async def test_a_refusal_that_is_nested_too_deep_is_a_refusal(tmp_path, dialect, status):
    async with run_scripted_gateway(tmp_path, dialect, routing=PATIENT) as here:
        for form in FORMS:
            for streamed in (False, True):
                body = '{"error":{"message":' + FORMS[form] + "}}"
                refusal = ScriptedAnswer(body.encode(), status)
                here.upstream.script = partial(answer_all, refusal)
                answered, text = await ask(here.gateway, "chat", streamed)
                assert answered >= 400
                assert here.gateway.last.fault not in {"", "internal"}
                assert len(text) < 10_000
