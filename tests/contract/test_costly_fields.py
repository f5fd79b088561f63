"""Fields that cost: every one that the SDKs can write is free, priced or refused, and a refusal names it before anybody is asked."""

import typing
from typing import Any

import pytest
from anthropic.types import ToolUnionParam, message_count_tokens_params, message_create_params
from anthropic.types.beta import BetaToolUnionParam
from anthropic.types.beta import message_create_params as beta_message_create_params
from hypothesis import given
from hypothesis import strategies as st
from openai.types import completion_create_params, embedding_create_params, image_generate_params
from openai.types.chat import ChatCompletionToolUnionParam
from openai.types.chat import completion_create_params as chat_create_params
from typing_extensions import is_typeddict

from gatewayz.core.conversation import OpaqueTool
from gatewayz.core.requests import ChatRequest
from gatewayz.core.usage import BUCKETS, SERVICES
from gatewayz.dialects.kit.costly_fields import FIELDS, TOOLS, UNKNOWN_TOOL, tool_cost, uses_in
from gatewayz.providers.registry import provider_rows
from tests.contract.test_surfaces import post
from tests.support.billing_gateway import run_billing_gateway

REQUESTS = {
    "openai_chat": [chat_create_params],
    "openai_completions": [completion_create_params],
    "openai_embeddings": [embedding_create_params],
    "openai_images": [image_generate_params],
    "anthropic_messages": [
        message_create_params,
        beta_message_create_params,
        message_count_tokens_params,
    ],
}
TOOL_UNIONS = {
    "openai_chat": [ChatCompletionToolUnionParam],
    "anthropic_messages": [ToolUnionParam, BetaToolUnionParam],
}


def typed_dicts(union):
    if is_typeddict(union):
        return [union]
    return [one for inner in typing.get_args(union) for one in typed_dicts(inner)]


def fields_of(module):
    """The fields of every `…Params` class of a module that a request is written with."""
    bodies = [
        value
        for name, value in vars(module).items()
        if is_typeddict(value)
        and name.removesuffix("Base").endswith(
            ("CreateParams", "GenerateParams", "CountTokensParams", "Streaming")
        )
    ]
    assert bodies, f"{module.__name__} has no class of a request any more"
    return {name for body in bodies for name in body.__annotations__}


def tool_types(union):
    for body in typed_dicts(union):
        hint = typing.get_type_hints(body, include_extras=False).get("type")
        while hint is not None and typing.get_origin(hint) is not typing.Literal:
            hint = next(iter(typing.get_args(hint)), None)
        yield from typing.get_args(hint)


@pytest.mark.parametrize("dialect", REQUESTS)
def test_every_field_of_the_sdks_is_free_priced_or_refused(dialect):
    known = {name for module in REQUESTS[dialect] for name in fields_of(module)}
    assert len(known) >= 5
    missing = sorted(known - FIELDS[dialect].keys())
    assert not missing, f"{dialect}: say in FIELDS what these new fields cost: {missing}"


@pytest.mark.parametrize("dialect", TOOL_UNIONS)
def test_every_tool_of_the_sdks_is_free_priced_or_refused(dialect):
    types = {kind for union in TOOL_UNIONS[dialect] for kind in tool_types(union)}
    assert len(types) >= 2
    missing = sorted(kind for kind in types if tool_cost(dialect, kind)[1] is UNKNOWN_TOOL)
    assert not missing, f"{dialect}: say in TOOLS what these new tools cost: {missing}"


def test_the_table_speaks_of_buckets_that_there_are_and_says_why_it_refuses():
    for table in (*FIELDS.values(), *TOOLS.values()):
        for name, cost in table.items():
            assert (cost.unit in {*BUCKETS, *SERVICES}) is (cost.kind == "priced"), name
            assert cost.kind != "refused" or cost.why, name


def test_rows_speak_of_fields_that_the_table_knows():
    known = {name for table in FIELDS.values() for name in table} | {"search_context_size"}
    known |= {f"tools.{name}" for table in TOOLS.values() for name in table}
    for row, provider in provider_rows().items():
        assert provider.quirks.field_costs.keys() <= known, row


ODD = st.none() | st.booleans() | st.text(max_size=4) | st.integers() | st.floats(allow_nan=False)
VALUES = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mode", "id", "pdf", "engine", "type", "enabled"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.data())
def test_no_value_of_a_costly_field_raises(data):
    fields = data.draw(st.dictionaries(st.sampled_from(sorted(FIELDS["openai_chat"])), VALUES))
    tools = data.draw(st.lists(st.dictionaries(st.just("type"), VALUES), max_size=3))
    for dialect in ("openai_chat", "anthropic_messages"):
        opaque = tuple(OpaqueTool(dialect, tool) for tool in tools)
        request = ChatRequest(dialect=dialect, model="m", messages=(), tools=opaque, extra=fields)
        assert all(use.cost.kind != "free" for use in uses_in(request))


HI = {"messages": [{"role": "user", "content": "hi"}]}
PAID = {"input": "1.00", "output": "2.00"}
CHAT, MESSAGES, IMAGES = "/v1/chat/completions", "/v1/messages", "/v1/images/generations"
REFUSED: list[Any] = [
    (CHAT, {"search_parameters": {"mode": "auto"}}, "search_parameters"),
    (CHAT, {"search_parameters": {}}, "search_parameters"),
    (CHAT, {"enable_search": True}, "enable_search"),
    (CHAT, {"enable_search": "true"}, "enable_search"),
    (CHAT, {"web_search_options": {}}, "web_search_options"),
    (CHAT, {"plugins": [{"id": "web"}]}, "plugins"),
    (CHAT, {"plugins": [{"id": "response-healing"}, {"id": "web"}]}, "plugins"),
    (CHAT, {"plugins": [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}]}, "plugins"),
    (CHAT, {"extra_body": {"enable_search": True}}, "extra_body.enable_search"),
    (CHAT, {"tools": [{"type": "web_search"}]}, "tools[0]"),
    (CHAT, {"tools": [{"type": "web_search_preview_2025_03_11"}]}, "tools[0]"),
    (CHAT, {"tools": [{"type": "browser_search"}, {"type": "code_interpreter"}]}, "tools[0]"),
    (CHAT, {"tools": [{"type": "openrouter:web_search"}]}, "tools[0]"),
    (CHAT, {"tools": [{"type": "custom_of_tomorrow"}]}, "tools[0]"),
    (CHAT, {"service_tier": "priority"}, "service_tier"),
    (CHAT, {"service_tier": "fast"}, "service_tier"),
    (CHAT, {"service_tier": ["priority"]}, "service_tier"),
    (CHAT, {"max_tokens": 5, "max_new_tokens": 50_000}, "max_new_tokens"),
    (CHAT, {"best_of": 8}, "best_of"),
    (MESSAGES, {"speed": "fast"}, "speed"),
    (MESSAGES, {"inference_geo": "us"}, "inference_geo"),
    (MESSAGES, {"container": "container_1"}, "container"),
    (MESSAGES, {"fallbacks": [{"model": "claude-opus-4-6"}]}, "fallbacks"),
    (MESSAGES, {"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread"),
    (
        MESSAGES,
        {"tools": [{"type": "code_execution_20260521", "name": "code_execution"}]},
        "tools[0]",
    ),
    (MESSAGES, {"tools": [{"type": "advisor_20260301", "name": "advisor"}]}, "tools[0]"),
    (MESSAGES, {"tools": [{"type": "web_search_20300101", "name": "web_search"}]}, "tools[0]"),
    (IMAGES, {"width": 8_000, "height": 8_000}, "width"),
    (IMAGES, {"num_images": 4}, "num_images"),
    (IMAGES, {"svg": {"model": "gpt-5.6"}}, "svg"),
    (IMAGES, {"provider_options": {"first": {"n": 10}}}, "provider_options.first.n"),
    (IMAGES, {"provider_options": {"first": {"steps": 50}}}, "provider_options.first.steps"),
]
PASSED_ON: list[Any] = [
    (CHAT, {"search_parameters": {"mode": "off"}, "enable_search": False, "plugins": []}),
    (CHAT, {"plugins": [{"id": "response-healing"}, {"id": "web", "enabled": False}]}),
    (CHAT, {"service_tier": "auto", "store": True, "verbosity": "low", "of_tomorrow": {"x": 1}}),
    (CHAT, {"tools": [{"type": "custom", "custom": {"name": "grep"}}]}),
    (MESSAGES, {"speed": "standard", "inference_geo": "global", "service_tier": "standard_only"}),
    (MESSAGES, {"tools": [{"type": "bash_20300101", "name": "bash"}]}),
    (IMAGES, {"background": "opaque", "provider_options": {"another": {"steps": 50}}}),
]
DIALECTS = {MESSAGES: "anthropic_messages", CHAT: "openai_chat", IMAGES: "openai_chat"}
SCENES = {IMAGES: "picture"}
BODIES: dict[str, Any] = {
    CHAT: HI,
    MESSAGES: {**HI, "max_tokens": 100},
    IMAGES: {"prompt": "a cat"},
}


def run(tmp_path, location, path, price=PAID, **more):
    scene = SCENES.get(path, "echo")
    offer = {"provider": "first", "upstream_id": scene, "price": price}
    models = [{"id": "test/model", "offers": [offer]}]
    return run_billing_gateway(tmp_path, location, dialect=DIALECTS[path], models=models, **more)


@pytest.fixture
def kind():
    """One database is enough: nothing of this is stored."""
    return "sqlite"


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_field_without_a_price_is_refused_by_name_before_anybody_is_asked(
    tmp_path, location, path
):
    price = {"images": "0.01", "image_output": "1.00", **PAID} if path == IMAGES else PAID
    async with run(tmp_path, location, path, price) as here:
        for refused, fields, name in REFUSED:
            if refused != path:
                continue
            answer = await post(here, path, {"model": "test/model", **BODIES[path], **fields})
            error = answer.json()["error"]
            assert (answer.status_code, f"'{name}' " in error["message"]) == (400, True), (
                fields,
                error,
            )
            assert error.get("param", name) == name
            assert "Leave it out" in error["message"]
        assert not here.upstream.requests
        for passed, fields in PASSED_ON:
            if passed == path:
                answer = await post(here, path, {"model": "test/model", **BODIES[path], **fields})
                assert answer.status_code == 200, (fields, answer.text)
        await here.assert_balanced()


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_the_house_may_use_every_field(tmp_path, location, path):
    async with run(tmp_path, location, path) as here:
        here.key = here.house_key
        for refused, fields, _ in REFUSED:
            if refused == path:
                await post(here, path, {"model": "test/model", **BODIES[path], **fields})
        assert len(here.upstream.requests) == len([one for one in REFUSED if one[0] == path])


async def test_what_the_row_prices_is_sold_where_the_price_has_that_unit(tmp_path, location):
    fields = {"web_search_options": {}, "enable_search": True}
    costs = {"web_search_options": "requests", "enable_search": "free"}
    for price, status in ((PAID, 400), (PAID | {"requests": "0.01"}, 200)):
        async with run(tmp_path, location, CHAT, price, quirks={"field_costs": costs}) as here:
            answer = await post(here, CHAT, {"model": "test/model", **HI, **fields})
            assert answer.status_code == status, answer.text


OCR = [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}]


async def test_a_field_that_does_not_cross_costs_nothing(tmp_path, location):
    async with run(tmp_path, location, MESSAGES) as here:
        answer = await post(here, CHAT, {"model": "test/model", **HI, "plugins": OCR})
        assert answer.status_code == 200, answer.text
        assert "plugins" in answer.headers["x-gatewayz-dropped"]
