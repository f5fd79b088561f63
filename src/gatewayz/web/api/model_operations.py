"""The model endpoints in the OpenAPI document: what a request may hold, an example that works as it
stands, an answer, and the errors as clients get them.

The document's own: nothing is checked by it. What the gateway takes is what its dialects decode, so
every schema is open. Errors are made by the encoders that make them for calls.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from msgspec import Struct
from msgspec.json import decode

from gatewayz.core.faults import Fault
from gatewayz.dialects.registry import CLIENTS

Schema = dict[str, Any]
MODEL: Schema = {
    "type": "string",
    "description": "A model's id or alias, as GET /v1/models lists them",
    "examples": ["openai/gpt-4o-mini"],
}
STREAM: Schema = {"type": "boolean", "description": "Send the answer as server-sent events"}
EXAMPLE_MODEL = "simulator/echo"
"""Every installation has it until a provider is on, and a first try needs no other."""
ERRORS = (
    Fault("bad_request", "Missing required parameter: 'model'.", param="model"),
    Fault("unauthenticated", "No API key was sent."),
    Fault("insufficient_credit", "This call may cost $0.0041, and the account has $0.0010 left."),
    Fault("forbidden", "This key may not use the model 'openai/gpt-4o'.", param="model"),
    Fault("unknown_model", "The model 'gpt-4p' does not exist; near it: gpt-4o.", param="model"),
    Fault("too_large", "The body is larger than 20971520 bytes."),
    Fault("rate_limited", "This key has made too many requests; try again in 2 s."),
    Fault("upstream_unreachable", "No provider of this model can be reached now."),
)
"""One for each status that calls are refused with; the messages say more, of each case."""


class ModelOperation(Struct, frozen=True, kw_only=True):
    """An endpoint for calls: `fields` of its body, and what it answers."""

    operation: str
    summary: str
    fields: dict[str, Schema]
    required: tuple[str, ...]
    example: dict[str, Any]
    answer: dict[str, Any]
    streams: bool = True


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _number(description: str, **more: Any) -> Schema:
    return {"type": "number", "description": description, **more}


def _integer(description: str) -> Schema:
    return {"type": "integer", "minimum": 1, "description": description}


def _list(description: str) -> Schema:
    return {"type": "array", "items": {"type": "object"}, "description": description}


MESSAGE = {"role": "user", "content": "Hello"}
TOKENS = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
OPERATIONS: dict[str, ModelOperation] = {
    "/v1/chat/completions": ModelOperation(
        operation="create_chat_completion",
        summary="Ask a chat model, in OpenAI's dialect",
        fields={
            "model": MODEL,
            "messages": _list("The conversation so far"),
            "stream": STREAM,
            "max_completion_tokens": _integer("The longest answer, reasoning included"),
            "temperature": _number("How much chance decides", minimum=0, maximum=2),
            "tools": _list("Functions that the model may call"),
            "response_format": {"type": "object", "description": "Text, JSON, or a JSON Schema"},
            "reasoning_effort": _text("How much the model thinks", examples=["low", "high"]),
            "models": {"type": "array", "items": MODEL, "description": "Asked in turn"},
            "provider": {"type": "object", "description": "Whom to ask, and whom not"},
            "user": _text("The person for whom the call is made"),
        },
        required=("model", "messages"),
        example={"model": EXAMPLE_MODEL, "messages": [MESSAGE], "max_completion_tokens": 64},
        answer={
            "id": "chatcmpl-01KBX5Q4D2XF9S8V3M6N7P0R1T",
            "object": "chat.completion",
            "created": 1795559244,
            "model": EXAMPLE_MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello"},
                    "finish_reason": "stop",
                }
            ],
            "usage": TOKENS,
        },
    ),
    "/v1/messages": ModelOperation(
        operation="create_message",
        summary="Ask a chat model, in Anthropic's dialect",
        fields={
            "model": MODEL,
            "max_tokens": _integer("The longest answer"),
            "messages": _list("The conversation so far"),
            "system": {"description": "What the model is told first: text, or blocks"},
            "stream": STREAM,
            "tools": _list("Tools that the model may use"),
            "thinking": {"type": "object", "description": "Whether and how long it thinks"},
        },
        required=("model", "max_tokens", "messages"),
        example={"model": EXAMPLE_MODEL, "max_tokens": 64, "messages": [MESSAGE]},
        answer={
            "id": "msg_01KBX5Q4D2XF9S8V3M6N7P0R1T",
            "type": "message",
            "role": "assistant",
            "model": EXAMPLE_MODEL,
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    ),
    "/v1/messages/count_tokens": ModelOperation(
        operation="count_message_tokens",
        summary="Count the tokens of a request in Anthropic's dialect, or estimate them",
        fields={"model": MODEL, "messages": _list("The conversation so far")},
        required=("model", "messages"),
        example={"model": EXAMPLE_MODEL, "messages": [MESSAGE]},
        answer={"input_tokens": 1},
        streams=False,
    ),
    "/v1/completions": ModelOperation(
        operation="create_completion",
        summary="Continue a text, in OpenAI's older dialect",
        fields={
            "model": MODEL,
            "prompt": {"description": "A text, or several"},
            "stream": STREAM,
            "max_tokens": _integer("The longest answer"),
        },
        required=("model", "prompt"),
        example={"model": EXAMPLE_MODEL, "prompt": "Hello", "max_tokens": 64},
        answer={
            "id": "cmpl-01KBX5Q4D2XF9S8V3M6N7P0R1T",
            "object": "text_completion",
            "created": 1795559244,
            "model": EXAMPLE_MODEL,
            "choices": [{"index": 0, "text": "Hello", "finish_reason": "stop", "logprobs": None}],
            "usage": TOKENS,
        },
    ),
    "/v1/embeddings": ModelOperation(
        operation="create_embedding",
        summary="Make vectors of texts, in OpenAI's dialect",
        fields={
            "model": MODEL,
            "input": {"description": "A text, or several; also as tokens"},
            "dimensions": _integer("How long a vector is, where the model can"),
            "encoding_format": _text("Numbers or base64", enum=["float", "base64"]),
        },
        required=("model", "input"),
        example={"model": "simulator/vectors", "input": "Hello"},
        answer={
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}],
            "model": "simulator/vectors",
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        },
        streams=False,
    ),
    "/v1/images/generations": ModelOperation(
        operation="create_image",
        summary="Make images of a text, in OpenAI's dialect",
        fields={
            "model": MODEL,
            "prompt": _text("What to show"),
            "n": _integer("How many"),
            "size": _text("Pixels", examples=["1024x1024"]),
            "quality": _text("How fine", examples=["low", "high"]),
            "response_format": _text("An address or bytes", enum=["url", "b64_json"]),
            "stream": STREAM,
        },
        required=("prompt",),
        example={"model": "simulator/picture", "prompt": "A red circle", "size": "256x256"},
        answer={"created": 1795559244, "data": [{"b64_json": "iVBORw0KGgo…"}]},
    ),
}
"""Path → its operation: the client dialects, each once."""
MODELS_ANSWER = {
    "object": "list",
    "data": [
        {"id": "openai/gpt-4o-mini", "object": "model", "created": 1721172741, "owned_by": "openai"}
    ],
}


def with_model_operations(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of the control plane with the model endpoints before it."""
    paths = {path: {"post": _post(path, each)} for path, each in OPERATIONS.items()}
    paths["/v1/models"] = {"get": _get("list_callable_models", "List the models", MODELS_ANSWER)}
    one = _get(
        "get_callable_model", "One model: what it can, and what it costs", MODELS_ANSWER["data"][0]
    )
    identifier = {"name": "model", "in": "path", "required": True, "schema": MODEL}
    paths["/v1/models/{model}"] = {"get": {**one, "parameters": [identifier]}}

    merged = deepcopy(dict(document))
    merged["info"]["title"] = "Gatewayz"
    merged["info"]["summary"] = "Models of every provider, and the control plane of this gateway."
    merged["paths"] = {**paths, **merged["paths"]}
    return merged


def _post(path: str, operation: ModelOperation) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": operation.fields,
        "required": list(operation.required),
        "additionalProperties": True,
    }
    answer: dict[str, Any] = {"application/json": _example({"type": "object"}, operation.answer)}
    if operation.streams:
        answer["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        **_described(operation.operation, operation.summary, "inference"),
        "requestBody": {
            "required": True,
            "content": {"application/json": _example(schema, operation.example)},
        },
        "responses": {
            "200": {"description": "The answer", "content": answer},
            **_error_responses(path),
        },
    }


def _get(name: str, summary: str, answer: Any) -> dict[str, Any]:
    content = {"application/json": _example({"type": "object"}, answer)}
    errors = _error_responses("/v1/chat/completions")
    return {
        **_described(name, summary, "catalog"),
        "responses": {
            "200": {"description": "The answer", "content": content},
            **{status: errors[status] for status in ("401", "404", "429")},
        },
    }


def _described(name: str, summary: str, access: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["models"],
        "x-who": access,
        "security": [{"key": []}],
    }


def _error_responses(path: str) -> dict[str, Any]:
    """Status → the error, as the dialect of the path writes it."""
    role = CLIENTS[path]
    responses: dict[str, Any] = {}
    for fault in ERRORS:
        response = role.error_response(fault, "01KBX5Q4D2XF9S8V3M6N7P0R1T")
        responses[str(response.status)] = {
            "description": fault.message,
            "content": {"application/json": _example({"type": "object"}, decode(response.body))},
        }
    return dict(sorted(responses.items()))


def _example(schema: Schema, example: Any) -> dict[str, Any]:
    return {"schema": schema, "example": example}
