"""Chat requests as `GenerateContentRequest` (ai.google.dev/api/generate-content#request-body)."""

import json
from typing import Any
from urllib.parse import quote

from gatewayz.core.conversation import OpaqueTool, Tool, ToolChoice
from gatewayz.core.requests import ChatRequest, Format
from gatewayz.dialects.base import Asking, Draft
from gatewayz.dialects.crossing import crossed
from gatewayz.dialects.gemini.contents import Conversation
from gatewayz.dialects.gemini.errors import NAME
from gatewayz.dialects.gemini.loses import Lost
from gatewayz.dialects.gemini.models import Family, family_of
from gatewayz.dialects.gemini.schema import json_schema, openapi_schema
from gatewayz.dialects.gemini.thinking import thinking_to_wire

Wire = dict[str, Any]
MAX_STOPS = 5
SEED_BITS = 31
"""A seed is an int32; a longer one is folded, which keeps equal seeds equal."""
JSON = "application/json"
IN_WORDS = "Answer with a JSON value that follows this JSON Schema, and with nothing else:\n"
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def request_to_wire(request: ChatRequest, asking: Asking) -> Draft:
    """The request; the model stands in the path."""
    family, lost = family_of(asking.upstream_id), Lost()
    request, left = crossed(request, NAME)
    system, contents = Conversation(asking.provider, family, lost).to_wire(request.messages)
    config = _config(request, family, lost)
    if request.format is not None:
        in_words = _format(request.format, config, family, lost, with_tools=bool(request.tools))
        system += [{"text": in_words}] if in_words else []
    if system and not family.instructed:
        contents, system = [{"role": "user", "parts": system}, *contents], []
    body: Wire = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    body |= _tools(request, family, lost)
    if config:
        body["generationConfig"] = config
    _left_out(request, lost)
    verb = "streamGenerateContent?alt=sse" if asking.streamed else "generateContent"
    path = f"/models/{quote(asking.upstream_id, safe='@')}:{verb}"
    return Draft(path, body, dropped=tuple(dict.fromkeys((*lost.names(), *left))))


def _config(request: ChatRequest, family: Family, lost: Lost) -> Wire:
    """`generationConfig`, without the answer's format."""
    drawn = request.sampling
    if len(drawn.stop) > MAX_STOPS:
        lost.add("stop")
    config = {
        "temperature": drawn.temperature,
        "topP": drawn.top_p,
        "topK": drawn.top_k,
        "seed": None if drawn.seed is None else drawn.seed & (1 << SEED_BITS) - 1,
        "presencePenalty": drawn.presence_penalty,
        "frequencyPenalty": drawn.frequency_penalty,
        "stopSequences": list(drawn.stop[:MAX_STOPS]) or None,
        "candidateCount": drawn.n if drawn.n > 1 else None,
        "maxOutputTokens": request.max_output,
        "responseLogprobs": True if drawn.logprobs else None,
        "logprobs": drawn.top_logprobs if drawn.logprobs and drawn.top_logprobs else None,
        "thinkingConfig": thinking_to_wire(request.reasoning, family, lost),
    }
    return {name: value for name, value in config.items() if value is not None}


def _format(asked: Format, config: Wire, family: Family, lost: Lost, *, with_tools: bool) -> str:
    """Puts the answer's format into `config`; returns it in words where the model cannot be held to it."""
    if asked.kind == "text":
        return ""
    if with_tools and not family.json_with_tools:
        lost.add("response_format")
        return IN_WORDS + json.dumps(asked.schema or {"type": "object"}, ensure_ascii=False)
    config["responseMimeType"] = JSON
    if asked.schema is not None:
        if asked.name or asked.description:
            lost.add("format_name")
        name = "responseJsonSchema" if family.json_schema else "responseSchema"
        config[name] = _schema(asked.schema, family, lost)
    return ""


def _schema(schema: Wire, family: Family, lost: Lost) -> Wire:
    return json_schema(schema, lost) if family.json_schema else openapi_schema(schema, lost)


def _tools(request: ChatRequest, family: Family, lost: Lost) -> Wire:
    declared = []
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            lost.add(f"tools.{tool.value.get('type', tool.dialect)}")
        else:
            declared.append(_declaration(tool, family, lost))
    if not declared:
        return {}
    named: Wire = {"tools": [{"functionDeclarations": declared}]}
    choice = _choice(request.tool_choice, lost) if request.tool_choice is not None else None
    return named | ({"toolConfig": {"functionCallingConfig": choice}} if choice else {})


def _declaration(tool: Tool, family: Family, lost: Lost) -> Wire:
    if tool.strict:
        lost.add("strict")
    declared: Wire = (
        {"name": tool.name, "description": tool.description}
        if tool.description
        else {"name": tool.name}
    )
    # A function without arguments has no schema: an object without properties is refused.
    if tool.parameters and tool.parameters.get("properties") != {}:
        name = "parametersJsonSchema" if family.json_schema else "parameters"
        declared[name] = _schema(tool.parameters, family, lost)
    return declared


def _choice(choice: ToolChoice, lost: Lost) -> Wire | None:
    if choice.mode == "named":
        return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    if choice.mode not in MODES:
        lost.add("tool_choice")
        return None
    if choice.allowed:
        # 'This should only be set when the Mode is ANY or VALIDATED.'
        mode = "VALIDATED" if choice.mode == "auto" else MODES[choice.mode]
        return {"mode": mode, "allowedFunctionNames": list(choice.allowed)}
    return {"mode": MODES[choice.mode]}


def _left_out(request: ChatRequest, lost: Lost) -> None:
    """Fields that Gemini has no place for at all."""
    if request.parallel_tools is False:
        lost.add("parallel_tool_calls")
    if request.user:
        lost.add("user")
    if request.sampling.logit_bias:
        lost.add("logit_bias")
