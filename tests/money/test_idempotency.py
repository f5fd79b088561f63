"""A request that its client named is made once: the same answer in any mode, never a second call, and what else may be said."""

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest
from sqlalchemy import delete, update

from gatewayz.control.keys import KeySpec, create_key
from gatewayz.store.sql.tables import IDEMPOTENCY, OWNERS
from tests.support.billing_gateway import abort_call, complete_chat, run_billing_gateway
from tests.support.databases import on_sqlite
from tests.support.running_gateway import model_with_offers, run_gateway

HI = [{"role": "user", "content": "Tell me something, please"}]
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "/v1/chat/completions": ("m/chat", {"messages": HI}),
    "/v1/completions": ("m/chat", {"prompt": "hi"}),
    "/v1/images/generations": ("m/picture", {"prompt": "a cat"}),
    "/v1/embeddings": ("m/vectors", {"input": "hi"}),
}
MODELS = [
    model_with_offers(("first", "echo"), model="m/chat"),
    model_with_offers(
        ("first", "picture"),
        model="m/picture",
        price={"input": "1.00", "output": "0", "image_output": "3.00"},
    ),
    model_with_offers(("first", "vectors"), model="m/vectors"),
]


class Answer:
    """Status, headers and bytes of what came back."""

    def __init__(self, status, headers, raw):
        self.status, self.headers, self.raw = status, headers, raw

    @property
    def replayed(self):
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def code(self):
        return json.loads(self.raw)["error"]["code"]


async def post(here, body, key="once", path="/v1/chat/completions", bearer=""):
    headers = {
        "Authorization": f"Bearer {bearer or here.key}",
        **({"Idempotency-Key": key} if key else {}),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{here.url}{path}", json=body, headers=headers) as response,
    ):
        return Answer(response.status, response.headers, await response.read())


def chat(model="test/model", **more):
    return {"model": model, "messages": HI, **more}


async def test_the_same_request_has_the_same_answer_and_is_made_once(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="tools") as here:
        tool = {
            "type": "function",
            "function": {
                "name": "weather",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
        first = await post(here, chat(tools=[tool]))
        await here.wait_until_idle()
        second = await post(here, {"tools": [tool], "messages": HI, "model": "test/model"})
        assert (first.status, first.replayed, second.status, second.replayed) == (
            200,
            False,
            200,
            True,
        )
        mine, again = json.loads(first.raw), json.loads(second.raw)
        assert (again["id"], again["model"], again["usage"]["cost"]) == (
            mine["id"],
            mine["model"],
            mine["usage"]["cost"],
        )
        assert again == mine
        assert again["choices"][0]["finish_reason"] == "tool_calls"
        assert second.headers["x-gatewayz-provider"] == "first"
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert len(here.upstream.requests) == 1
        assert len(await here.calls()) == 1
        await here.assert_balanced()


@pytest.mark.parametrize("first_streamed", [True, False])
async def test_a_kept_answer_is_given_in_the_mode_that_is_asked_for(
    tmp_path, location, first_streamed
):
    async with run_billing_gateway(tmp_path, location, model="reasoning") as here:
        await post(
            here,
            chat(
                stream=first_streamed,
                **({"stream_options": {"include_usage": True}} if first_streamed else {}),
            ),
        )
        await here.wait_until_idle()
        record = await here.call()
        whole = await post(here, chat())
        streamed = await post(here, chat(stream=True, stream_options={"include_usage": True}))
        assert whole.replayed
        assert streamed.replayed
        message = json.loads(whole.raw)["choices"][0]["message"]
        assert message["content"] == HI[0]["content"]
        chunks = [
            json.loads(event.removeprefix(b"data: ")) for event in streamed.raw.split(b"\n\n")[:-2]
        ]
        assert streamed.raw.endswith(b"data: [DONE]\n\n")
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == message["content"]
        assert (
            "".join(delta.get("reasoning_content") or "" for delta in deltas)
            == message["reasoning_content"]
            != ""
        )
        for name in ("prompt_tokens", "completion_tokens", "total_tokens", "cost"):
            assert chunks[-1]["usage"][name] == json.loads(whole.raw)["usage"][name]
        assert (
            round(chunks[-1]["usage"]["cost"] * 10**9) == record["cost"] == await here.usage_total()
        )
        assert len(here.upstream.requests) == 1
        await here.assert_balanced()


@pytest.mark.parametrize("path", BODIES)
async def test_every_path_keeps_its_answers(tmp_path, location, path):
    async with run_billing_gateway(tmp_path, location, models=MODELS) as here:
        model, body = BODIES[path]
        first = await post(here, {"model": model, **body}, path=path)
        assert first.status == 200, first.raw
        await here.wait_until_idle()
        second = await post(here, {"model": model, **body}, path=path)
        assert second.replayed
        assert json.loads(second.raw) == json.loads(first.raw)
        assert len(await here.calls()) == 1
        await here.assert_balanced()


async def test_of_fifty_at_once_one_is_made(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="slow") as here:
        answers = await asyncio.gather(
            *(post(here, chat(stream=number % 2 == 0)) for number in range(50))
        )
        served = [one for one in answers if one.status == 200]
        others = [one for one in answers if one.status != 200]
        assert len([one for one in served if not one.replayed]) == 1
        assert {(one.status, one.code, one.headers["retry-after"]) for one in others} == {
            (409, "request_in_progress", "1")
        }
        assert len(here.upstream.requests) == 1
        again = await post(here, chat())
        assert again.replayed
        assert len(await here.calls()) == 1
        await here.assert_balanced()


async def test_the_sdk_waits_for_a_request_in_flight_and_gets_its_answer(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="slow") as here:
        client = here.client(max_retries=4)
        texts = await asyncio.gather(
            *(complete_chat(client, extra_headers={"Idempotency-Key": "k"}) for _ in range(3))
        )
        assert len(set(texts)) == 1
        assert len(here.upstream.requests) == 1
        await here.assert_balanced()


async def test_another_request_under_the_same_key_is_refused_and_other_accounts_have_keys_of_their_own(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        await post(here, chat())
        other = await post(here, chat(temperature=0.5))
        assert (other.status, other.code) == (422, "idempotency_key_reused")
        elsewhere = await post(
            here, {"model": "test/model", "prompt": "hi"}, path="/v1/completions"
        )
        assert elsewhere.status == 422
        _, key = await here.open_account(1)
        for bearer in (key, here.house_key):
            mine = await post(here, chat(temperature=0.5), bearer=bearer)
            assert (mine.status, mine.replayed) == (200, False)
        await here.assert_balanced()


@on_sqlite
@pytest.mark.parametrize("key", ["x" * 256, "tab\there", "über"])
async def test_a_key_that_is_none_is_a_bad_request(tmp_path, location, key):
    async with run_billing_gateway(tmp_path, location) as here:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(here.url.rpartition(":")[2])
        )
        body = json.dumps(chat()).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {here.key}\r\nConnection: close\r\n"
        writer.write(
            f"{head}Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Idempotency-Key" in answer
        assert not here.upstream.requests


async def test_what_failed_with_nothing_delivered_frees_its_key(tmp_path, location):
    async with run_billing_gateway(tmp_path, location) as here:
        for scene in ("fault-500", "fault-400", "fault-cut-0"):
            here.upstream.script("model", [scene, "echo"])
            failed = await post(here, chat(stream=scene == "fault-cut-0"), key=scene)
            assert failed.status in {400, 502}
            served = await post(here, chat(), key=scene)
            assert (served.status, served.replayed) == (200, False)
        empty, key = await here.open_account(0)
        refused = await post(here, chat(), key="poor", bearer=key)
        assert refused.status == 402
        assert not [one for one in await here.claims() if one.account_id == empty]
        await here.assert_balanced()


async def test_what_was_delivered_in_part_is_never_made_again(tmp_path, location):
    async with run_billing_gateway(tmp_path, location) as here:
        here.upstream.script("model", ["fault-cut-3"])
        broken = await post(here, chat(stream=True))
        assert b'"finish_reason":"error"' in broken.raw
        here.upstream.script("model", ["echo"])
        await here.wait_until_idle()
        for streamed in (True, False):
            again = await post(here, chat(stream=streamed))
            assert (again.status, again.code) == (409, "replay_unavailable")
        assert len(here.upstream.requests) == 1
        await here.assert_balanced()


async def test_a_long_answer_is_given_but_not_kept(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        text = "w" * 120 + " "
        body = {
            "model": "test/model",
            "messages": [{"role": "user", "content": text * 5_500}],
            "max_tokens": 200_000,
        }
        first = await post(here, body)
        assert first.status == 200
        await here.wait_until_idle()
        again = await post(here, body)
        assert (again.status, again.code) == (409, "replay_unavailable")
        await here.assert_balanced()


async def test_the_answer_that_a_client_did_not_wait_for_is_there_when_it_comes_back(
    tmp_path, location
):
    async with run_billing_gateway(
        tmp_path, location, model="slow", quirks={"cancel_stops_billing": False}
    ) as here:
        for streamed, after in ((True, 3), (False, None)):
            await abort_call(
                here, streamed=streamed, after=after, key=f"k{streamed}", text=HI[0]["content"]
            )
            await here.wait_until_idle()
            again = await post(here, chat(), key=f"k{streamed}")
            assert again.replayed
            assert json.loads(again.raw)["choices"][0]["message"]["content"].endswith("tick19")
        assert len(here.upstream.requests) == 2
        await here.assert_balanced()


async def test_a_client_that_left_with_nothing_may_ask_again_and_one_that_had_a_part_may_not(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, model="model") as here:
        here.upstream.script("model", ["fault-hang-headers", "echo", "fault-hang-3", "echo"])
        await abort_call(here, streamed=True, after=None, key="early", text=HI[0]["content"])
        await here.wait_until_idle()
        assert (await post(here, chat(), key="early")).status == 200
        await abort_call(here, streamed=True, after=3, key="late", text=HI[0]["content"])
        await here.wait_until_idle()
        assert (await post(here, chat(), key="late")).code == "replay_unavailable"
        await here.assert_balanced()


async def test_a_claim_whose_owner_died_is_taken_over_and_one_that_lives_is_not(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        store: Any = here.built.store
        database = store.database

        async def claim(owner, expires_ms):
            async with database.begin() as connection:
                await connection.execute(delete(IDEMPOTENCY))
                await connection.execute(
                    IDEMPOTENCY.insert().values(
                        account_id=here.account,
                        key="once",
                        fingerprint=mine,
                        call_id="older",
                        owner=owner,
                        state="running",
                        created_ms=1,
                        expires_ms=expires_ms,
                    )
                )

        await post(here, chat())
        await here.wait_until_idle()
        mine = (await here.claims())[0].fingerprint
        later = here.built.gateway._clock.wall_ms() + 600_000
        await claim(here.books.owner, later)
        assert (await post(here, chat())).code == "request_in_progress"
        await claim("a-process-that-died", later)
        assert (await post(here, chat())).status == 200
        await claim(here.books.owner, 1)
        assert (await post(here, chat())).status == 200
        await claim("silent", later)
        async with database.begin() as connection:
            await connection.execute(
                OWNERS.insert().values(id="silent", started_ms=1, beat_ms=later - 3_600_000)
            )
        # Its beat is old by the date, which may have jumped: whoever watches it says that it is dead.
        assert (await post(here, chat())).code == "request_in_progress"
        async with database.begin() as connection:
            await connection.execute(delete(OWNERS).where(OWNERS.c.id == "silent"))
        answers = await asyncio.gather(*(post(here, chat()) for _ in range(10)))
        assert len([one for one in answers if one.status == 200 and not one.replayed]) == 1
        assert len(here.upstream.requests) == 4
        await here.assert_balanced()


async def test_what_is_kept_is_encrypted_for_its_place_and_kept_for_a_day(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        await post(here, chat(), key="one")
        await post(here, chat(), key="two")
        await here.wait_until_idle()
        one, two = sorted(await here.claims(), key=lambda row: row.key)
        assert HI[0]["content"].encode() not in one.answer
        now = here.built.gateway._clock.wall_ms()
        assert one.expires_ms == pytest.approx(now + 86_400_000, abs=60_000)
        store: Any = here.built.store
        async with store.database.begin() as connection:
            await connection.execute(
                update(IDEMPOTENCY).where(IDEMPOTENCY.c.key == "one").values(answer=two.answer)
            )
        swapped = await post(here, chat(), key="one")
        assert (swapped.status, swapped.code) == (409, "replay_unavailable")
        assert (await post(here, chat(), key="two")).replayed
        async with store.database.begin() as connection:
            await connection.execute(
                update(IDEMPOTENCY).where(IDEMPOTENCY.c.key == "two").values(expires_ms=1)
            )
        assert not (await post(here, chat(), key="two")).replayed
        await here.assert_balanced()


async def test_without_a_database_keys_hold_in_memory(tmp_path):
    async with run_gateway(tmp_path) as here:
        body = chat("first/echo")
        first, again = await post(here, body), await post(here, body)
        assert (first.status, first.replayed, again.status, again.replayed) == (
            200,
            False,
            200,
            True,
        )
        assert (await post(here, chat("first/echo", temperature=1))).status == 422
        with pytest.raises(openai.InternalServerError):
            await complete_chat(
                here.client(), "first/fault-500", extra_headers={"Idempotency-Key": "other"}
            )
        books: Any = here.built.books
        assert not [name for name in books.replays._claims if name[1] == "other"]
        assert books.calls == 2


@pytest.mark.parametrize("stored_for", ["test/model", "test/other"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_no_kept_answer_is_given_to_a_key_that_may_not_use_the_model(
    tmp_path, location, stored_for, streamed
):
    models = [
        model_with_offers(("first", "echo"), model=name) for name in ("test/model", "test/other")
    ]
    async with run_billing_gateway(tmp_path, location, model="echo", models=models) as here:
        first = await post(here, chat(stored_for))
        await here.wait_until_idle()
        transaction = here.built.control_transaction
        for allowed, status in ((("test/model",), stored_for == "test/model"), (("x/y",), False)):
            bearer, _ = await create_key(transaction, KeySpec(account=here.account, models=allowed))
            again = await post(here, chat(stored_for, stream=streamed), bearer=bearer)
            assert again.status == (200 if status else 403), again.raw
            assert again.replayed == status
        assert first.status == 200
        assert len(here.upstream.requests) == 1
