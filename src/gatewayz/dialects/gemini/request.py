"""Chat requests as `GenerateContentRequest` (ai.google.dev/api/generate-content#request-body)."""

import json
from typing import Any
from urllib.parse import quote

from gatewayz.core.conversation import OpaqueTool, Tool, ToolChoice
from gatewayz.core.requests import ChatRequest, ResponseFormat
from gatewayz.dialects.gemini.messages import ContentsBuilder
from gatewayz.dialects.gemini.models import GeminiFamily, family_of
from gatewayz.dialects.gemini.schema import json_schema, openapi_schema
from gatewayz.dialects.gemini.thinking import thinking_to_wire
from gatewayz.dialects.gemini.wire import NAME, fold_seed
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.tool_turns import with_results_in_order, with_unique_ids
from gatewayz.dialects.kit.translate import translate

Wire = dict[str, Any]
MAX_STOPS = 5
JSON_TYPE = "application/json"
SCHEMA_INSTRUCTION = (
    "Answer with a JSON value that follows this JSON Schema, and with nothing else:\n"
)
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def request_to_wire(request: ChatRequest, target: EncodeTarget) -> Draft:
    """The request; the model stands in the path.

    Example: `Draft("/models/gemini-2.5-pro:generateContent", {"contents": […]})`.
    """
    family, dropped = family_of(target.upstream_id), Dropped()
    request, untranslated = translate(request, NAME)

    messages = with_results_in_order(with_unique_ids(request.messages))
    system, contents = ContentsBuilder(target.provider, family, dropped).to_wire(messages)
    config = _generation_config(request, family, dropped)
    if request.format is not None:
        words = _add_format(request.format, config, family, dropped, with_tools=bool(request.tools))
        system += [{"text": words}] if words else []
    if system and not family.has_system_instruction:
        contents, system = [{"role": "user", "parts": system}, *contents], []

    body: Wire = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    body |= _tools_to_wire(request, family, dropped)
    if config:
        body["generationConfig"] = config
    _drop_absent_fields(request, dropped)
    dropped.add(*untranslated)

    method = "streamGenerateContent?alt=sse" if target.streamed else "generateContent"
    path = f"/models/{quote(target.upstream_id, safe='@')}:{method}"
    return Draft(path, body, dropped=dropped.names())


def _generation_config(request: ChatRequest, family: GeminiFamily, dropped: Dropped) -> Wire:
    """`generationConfig`, without the answer's format."""
    sampling = request.sampling
    if len(sampling.stop) > MAX_STOPS:
        dropped.add("stop")
    config = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "seed": None if sampling.seed is None else fold_seed(sampling.seed),
        "presencePenalty": sampling.presence_penalty,
        "frequencyPenalty": sampling.frequency_penalty,
        "stopSequences": list(sampling.stop[:MAX_STOPS]) or None,
        "candidateCount": sampling.n if sampling.n > 1 else None,
        "maxOutputTokens": request.max_output,
        "responseLogprobs": True if sampling.logprobs else None,
        "logprobs": (sampling.top_logprobs or None) if sampling.logprobs else None,
        "thinkingConfig": thinking_to_wire(request.reasoning, family, dropped),
    }
    return {name: value for name, value in config.items() if value is not None}


def _add_format(
    format_: ResponseFormat,
    config: Wire,
    family: GeminiFamily,
    dropped: Dropped,
    *,
    with_tools: bool,
) -> str:
    """Puts the answer's format into `config`; in words where it cannot be enforced."""
    if format_.kind == "text":
        return ""
    if with_tools and not family.json_with_tools:
        dropped.add("response_format")
        schema = format_.schema or {"type": "object"}
        return SCHEMA_INSTRUCTION + json.dumps(schema, ensure_ascii=False)

    config["responseMimeType"] = JSON_TYPE
    if format_.schema is not None:
        if format_.name or format_.description:
            dropped.add("format_name")
        field = "responseJsonSchema" if family.json_schema else "responseSchema"
        config[field] = _schema_to_wire(format_.schema, family, dropped)
    return ""


def _schema_to_wire(schema: Wire, family: GeminiFamily, dropped: Dropped) -> Wire:
    return json_schema(schema, dropped) if family.json_schema else openapi_schema(schema, dropped)


def _tools_to_wire(request: ChatRequest, family: GeminiFamily, dropped: Dropped) -> Wire:
    declarations = []
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            dropped.add(f"tools.{tool.value.get('type', tool.dialect)}")
        else:
            declarations.append(_function_declaration(tool, family, dropped))
    if not declarations:
        return {}

    wire: Wire = {"tools": [{"functionDeclarations": declarations}]}
    if request.tool_choice is not None:
        config = _function_calling_config(request.tool_choice, dropped)
        wire |= {"toolConfig": {"functionCallingConfig": config}} if config else {}
    return wire


def _function_declaration(tool: Tool, family: GeminiFamily, dropped: Dropped) -> Wire:
    if tool.strict:
        dropped.add("strict")
    declaration: Wire = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    # A function without arguments has no schema: an object without properties is refused.
    if tool.parameters and tool.parameters.get("properties") != {}:
        field = "parametersJsonSchema" if family.json_schema else "parameters"
        declaration[field] = _schema_to_wire(tool.parameters, family, dropped)
    return declaration


def _function_calling_config(choice: ToolChoice, dropped: Dropped) -> Wire | None:
    if choice.mode == "named":
        return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    if choice.mode not in MODES:
        dropped.add("tool_choice")
        return None
    if choice.allowed:
        # 'This should only be set when the Mode is ANY or VALIDATED.'
        mode = "VALIDATED" if choice.mode == "auto" else MODES[choice.mode]
        return {"mode": mode, "allowedFunctionNames": list(choice.allowed)}
    return {"mode": MODES[choice.mode]}


def _drop_absent_fields(request: ChatRequest, dropped: Dropped) -> None:
    """Fields that Gemini has no place for at all."""
    if request.parallel_tools is False:
        dropped.add("parallel_tool_calls")
    if request.user:
        dropped.add("user")
    if request.sampling.logit_bias:
        dropped.add("logit_bias")
