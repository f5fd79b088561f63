"""The models API over real sockets: OpenAI's shape, OpenRouter's fields, filters, odd ids, ETags, who serves what."""

import json
from typing import Any
from urllib.parse import quote

import aiohttp
import anthropic
import openai
import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.calls import Principal
from gatewayz.core.money import price_from_pico
from gatewayz.web.handler_request import HandlerRequest
from gatewayz.web.models import MAX_BODIES, BodyCache, ModelHandlers
from tests.support.running_gateway import PRICE, run_gateway

ODD = "maker/model-1.5:free"
MODELS: list[dict[str, Any]] = [
    {
        "id": "maker/model-1.5",
        "name": "Maker One",
        "aliases": ["one"],
        "context": 4_000,
        "offers": [
            {
                "provider": "first",
                "upstream_id": "m1",
                "price": {"input": "1.25", "output": "10", "cache_read": "0.125"},
                "tiers": [
                    {"above": 200_000, "price": {"input": "2.50", "output": "15"}},
                    {"service": "priority", "price": {"input": "2", "output": "20"}},
                ],
            },
            {
                "provider": "second",
                "upstream_id": "deep/m1",
                "price": {"input": "1.00", "output": "12"},
                "context": 8_000,
                "max_output": 500,
            },
        ],
    },
    {"id": ODD, "offers": [{"provider": "second", "upstream_id": "m1:free", "free": True}]},
    {
        "id": "maker/painter",
        "offers": [
            {
                "provider": "second",
                "upstream_id": "p",
                "price": {"images": "0.04"},
                "serves": ["image"],
            }
        ],
    },
    {"id": "maker/unpriced", "offers": [{"provider": "first", "upstream_id": "u"}]},
    {"id": "maker/gone", "offers": [{"provider": "openai", "upstream_id": "gone", "price": PRICE}]},
]
OWN: dict[str, Any] = {"models": MODELS, "catalog": {"sync_every_s": 0, "markup_bp": 1_000}}


async def get(gateway, path, key=None, **headers):
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{gateway.url}{path}",
            headers={"Authorization": f"Bearer {key or gateway.key}"} | headers,
            allow_redirects=False,
        ) as answer,
    ):
        body = await answer.read()
        return answer.status, answer.headers, json.loads(body) if body else None


async def ids(gateway, query=""):
    status, _, body = await get(gateway, f"/v1/models{query}")
    assert status == 200, body
    return [model["id"] for model in body["data"] if model["id"].startswith("maker/")]


async def test_the_official_sdk_lists_and_retrieves(tmp_path):
    async with run_gateway(tmp_path, **OWN) as gateway:
        models = [model async for model in await gateway.client().models.list()]
        assert {"maker/model-1.5", ODD, "maker/painter", "maker/unpriced"} <= {
            model.id for model in models
        }
        assert "maker/gone" not in {model.id for model in models}
        assert all(
            model.object == "model" and isinstance(model.created, int) and model.owned_by
            for model in models
        )
        for name in ("maker/model-1.5", ODD, "one", "deep/m1", "maker/Model-1.5"):
            assert (await gateway.client().models.retrieve(name)).id in {"maker/model-1.5", ODD}
        for name in ("maker/gone", "maker/none", "first/anything", "maker/Model-1.6"):
            with pytest.raises(openai.NotFoundError):
                await gateway.client().models.retrieve(name)


async def test_anthropics_sdk_lists_pages_and_retrieves(tmp_path):
    async with (
        run_gateway(tmp_path, **OWN) as gateway,
        anthropic.AsyncAnthropic(
            base_url=gateway.url, api_key=gateway.key, max_retries=0
        ) as client,
    ):
        everything = [model async for model in await client.models.list(limit=2)]
        assert [model.id for model in everything] == [
            model.id async for model in await gateway.client().models.list()
        ]
        assert {model.type for model in everything} == {"model"}
        model = await client.models.retrieve("maker/model-1.5")
        assert (model.id, model.display_name, model.created_at.year) == (
            "maker/model-1.5",
            "Maker One",
            1970,
        )
        ids = [model.id for model in everything]
        page = await client.models.list(before_id=ids[3], limit=2)
        assert ([model.id for model in page.data], page.has_more, page.first_id, page.last_id) == (
            ids[1:3],
            True,
            ids[1],
            ids[2],
        )
        assert (await client.models.list(after_id=ids[-1])).data == []
        with pytest.raises(anthropic.NotFoundError) as error:
            await client.models.retrieve("maker/none")
        body: Any = error.value.body
        assert (body["type"], body["error"]["type"]) == (
            "error",
            "not_found_error",
        )
        for query in ({"limit": 0}, {"limit": 5_000}, {"after_id": "maker/none"}):
            with pytest.raises(anthropic.BadRequestError):
                await client.models.list(**query)


async def test_a_model_has_openrouters_fields(tmp_path):
    async with run_gateway(tmp_path, **OWN) as gateway:
        _, _, model = await get(gateway, "/v1/models/maker/model-1.5")
        assert model["pricing"] == {
            "prompt": "0.000001375",
            "completion": "0.000011",
            "request": "0",
            "image": "0",
            "input_cache_read": "0.0000001375",
            "overrides": [
                {
                    "min_prompt_tokens": 200_000,
                    "prompt": "0.00000275",
                    "completion": "0.0000165",
                    "request": "0",
                    "image": "0",
                    "input_cache_read": "0.000000275",
                }
            ],
        }
        assert model["top_provider"] == {
            "context_length": 8_000,
            "max_completion_tokens": 500,
            "is_moderated": False,
        }
        assert (model["name"], model["context_length"], model["providers"], model["aliases"]) == (
            "Maker One",
            8_000,
            ["first", "second"],
            ["one"],
        )
        assert model["architecture"]["modality"] == "text->text"
        assert {"temperature", "max_tokens"} <= set(model["supported_parameters"])
        _, _, free = await get(gateway, f"/v1/models/{ODD}")
        assert free["free"]
        assert set(free["pricing"].values()) == {"0"}
        _, _, unpriced = await get(gateway, "/v1/models/maker/unpriced")
        assert unpriced["pricing"] is None
        _, _, painter = await get(gateway, "/v1/models/maker/painter")
        assert painter["pricing"]["image"] == "0.044"


@pytest.mark.parametrize(
    "spelled",
    [
        ODD,
        quote(ODD, safe=""),
        quote(ODD, safe="/"),
        "maker%2Fmodel-1.5:free",
        "maker/model-1.5%3Afree",
    ],
)
async def test_ids_may_be_spelled_with_slashes_and_colons_escaped_or_not(tmp_path, spelled):
    async with run_gateway(tmp_path, **OWN) as gateway:
        path = f"/v1/models/{spelled}"
        async with aiohttp.ClientSession() as session:
            from yarl import URL

            async with session.get(
                URL(gateway.url + path, encoded=True),
                headers={"Authorization": f"Bearer {gateway.key}"},
            ) as answer:
                assert (answer.status, (await answer.json())["id"]) == (200, ODD)


async def test_filters_and_pages(tmp_path):
    async with run_gateway(tmp_path, **OWN) as gateway:
        everything = await ids(gateway)
        assert everything == sorted(everything)
        assert await ids(gateway, "?provider=first") == ["maker/model-1.5", "maker/unpriced"]
        assert await ids(gateway, "?provider=first,second&q=model") == ["maker/model-1.5", ODD]
        assert await ids(gateway, "?q=MAKER+one") == ["maker/model-1.5"]
        assert await ids(gateway, "?free=true") == [ODD]
        assert await ids(gateway, "?free=false") == everything
        assert await ids(gateway, "?supported_parameters=temperature,seed") == [
            "maker/model-1.5",
            ODD,
            "maker/unpriced",
        ]
        assert await ids(gateway, "?supported_parameters=nothing") == []
        assert await ids(gateway, "?input_modalities=image") == []
        assert await ids(gateway, "?modality=text-%3Etext&q=unpriced") == ["maker/unpriced"]
        assert await ids(gateway, "?unheard=of") == everything
        _, _, page = await get(gateway, "/v1/models?q=maker&limit=2&offset=1")
        assert ([model["id"] for model in page["data"]], page["total"]) == (everything[1:3], 4)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=-1",
        "limit=99999999999999999999999999",
        "offset=1.5",
        "limit=%C2%B2",
        "q=%FF",
        "q=" + "x" * 5_000,
        "&".join(["a=b"] * 60),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(tmp_path, query):
    async with run_gateway(tmp_path, **OWN) as gateway:
        status, _, body = (
            await get(gateway, f"/v1/models?{query}")
            if "%" not in query
            else await raw(gateway, query)
        )
        assert status == 400, body
        assert body["error"]["type"] == "invalid_request_error"


async def raw(gateway, query):
    from yarl import URL

    async with (
        aiohttp.ClientSession() as session,
        session.get(
            URL(f"{gateway.url}/v1/models?{query}", encoded=True),
            headers={"Authorization": f"Bearer {gateway.key}"},
        ) as answer,
    ):
        return answer.status, {}, await answer.json()


async def test_a_list_that_has_not_changed_is_not_sent_again(tmp_path):
    async with run_gateway(tmp_path, **OWN) as gateway:
        _, first, _ = await get(gateway, "/v1/models")
        assert first["Cache-Control"] == "private, no-cache"
        status, headers, body = await get(
            gateway, "/v1/models", **{"If-None-Match": f'"other", W/{first["ETag"]}'}
        )
        assert (status, headers["ETag"], body) == (304, first["ETag"], None)
        assert (await get(gateway, "/v1/models?q=one", **{"If-None-Match": first["ETag"]}))[
            0
        ] == 200
        gateway.built.catalog.replace(
            [
                Model(
                    id="new/model",
                    offers=(Offer(model="new/model", provider="first", upstream_id="x"),),
                )
            ]
        )
        status, headers, body = await get(gateway, "/v1/models", **{"If-None-Match": first["ETag"]})
        assert (status, [model["id"] for model in body["data"]]) == (200, ["new/model"])
        assert headers["ETag"] != first["ETag"]


async def test_endpoints_show_the_offers_and_to_operators_also_those_that_are_off(tmp_path):
    models = [
        *MODELS,
        {
            "id": "maker/both",
            "offers": [
                {"provider": "first", "upstream_id": "b", "price": PRICE},
                {"provider": "openai", "upstream_id": "b", "price": PRICE},
            ],
        },
    ]
    async with run_gateway(tmp_path, **(OWN | {"models": models})) as gateway:
        _, _, body = await get(gateway, "/v1/models/maker/model-1.5/endpoints")
        first, second = body["data"]["endpoints"]
        assert body["data"]["id"] == "maker/model-1.5"
        assert (
            first["tag"],
            first["upstream_id"],
            first["status"],
            first["price_source"],
            first["why_not"],
        ) == ("first", "m1", 0, "settings", "")
        assert (
            second["context_length"],
            second["max_completion_tokens"],
            second["pricing"]["prompt"],
        ) == (8_000, 500, "0.0000011")
        _, _, both = await get(gateway, "/v1/models/maker%2Fboth/endpoints")
        assert [
            (endpoint["tag"], endpoint["why_not"]) for endpoint in both["data"]["endpoints"]
        ] == [
            ("first", ""),
            ("openai", "off: set OPENAI_API_KEY"),
        ]
        assert (await get(gateway, "/v1/models/maker/none/endpoints"))[0] == 404


def model_handlers(**more):
    from gatewayz.providers.spec import Provider

    providers = {
        "me": Provider(id="me", name="Me", dialect="openai_chat", base_url="http://x", auth="none")
    }
    offers = [
        Offer(
            model=f"a/{name}",
            provider="me",
            upstream_id=name,
            price=price_from_pico({"input": 1_000_000, "output": 1_000_000}),
        )
        for name in "bcd"
    ]
    return ModelHandlers(
        Catalog([Model(id=offer.model, offers=(offer,)) for offer in offers], providers), dict
    )


async def test_a_key_bound_to_models_is_shown_only_those():
    bound = Principal("account", "key", models=("a/b",))
    models = json.loads((await model_handlers().list_models(HandlerRequest(principal=bound))).body)
    assert [model["id"] for model in models["data"]] == ["a/b"]
    with pytest.raises(Exception, match="does not exist"):
        await model_handlers().get_model(HandlerRequest(tail="a/c", principal=bound))


async def test_an_account_with_a_markup_of_its_own_sees_the_prices_that_it_pays():
    principal = Principal("account", "key", markup_bp=5_000)
    handlers = model_handlers()
    prices = [
        json.loads((await handlers.get_model(HandlerRequest(tail="a/b", principal=who))).body)[
            "pricing"
        ]["prompt"]
        for who in (None, principal, None)
    ]
    assert prices == ["0.000001", "0.0000015", "0.000001"]


def test_answers_that_are_remembered_are_bounded():
    bodies = BodyCache()
    for number in range(MAX_BODIES + 10):
        bodies.get(str(number), lambda: b"old")
    assert bodies.get(str(MAX_BODIES), lambda: b"new") == b"old"
    assert bodies.get("0", lambda: b"new") == b"new"
    bodies.get("big", lambda: b"x" * (40 * 2**20))
    assert bodies.get("1", lambda: b"new") == b"new"
