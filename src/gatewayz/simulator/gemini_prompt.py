"""What a `generateContent` request asks for: Gemini's words, as the simulator reads them."""

from typing import Any

from gatewayz.simulator.prompts import OfferedTool, Prompt
from gatewayz.simulator.recorder import (
    IMAGE_TOKENS,
    MEDIA_TOKENS,
    MESSAGE_TOKENS,
    RecordedRequest,
    count_tokens,
)

Content = dict[str, Any]
CHOICES = {"AUTO": "auto", "NONE": "none", "ANY": "required", "VALIDATED": "auto"}
EFFORTS = ((0, "none"), (1_024, "low"), (8_192, "medium"))
"""Tokens of a budget up to which it is this effort."""


def prompt_from_request(request: RecordedRequest) -> Prompt:
    """The prompt of a request; a broken one asks for nothing."""
    content = request.content
    contents = [turn for turn in content.get("contents", []) if isinstance(turn, dict)]
    parts = [part for turn in contents for part in turn.get("parts", [])]
    config = content.get("generationConfig") or {}
    calling = (content.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames") or []
    system = [content["systemInstruction"]] if "systemInstruction" in content else []
    media = [part for part in parts if "inlineData" in part or "fileData" in part]
    return Prompt(
        number=request.number,
        text=_last_user_text(contents),
        results=tuple(
            _result_text(part["functionResponse"]) for part in parts if "functionResponse" in part
        ),
        tools=_tools_from_declarations(content.get("tools") or []),
        choice="named" if allowed else CHOICES[calling.get("mode", "AUTO")],
        forced_tool=allowed[0] if allowed else "",
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        images=tuple(_media_url(part) for part in media if _mime(part).startswith("image/")),
        files=tuple(_mime(part) for part in media if _mime(part).startswith("application/")),
        sounds=tuple(
            _mime(part).removeprefix("audio/") for part in media if _mime(part).startswith("audio/")
        ),
        effort=_effort(config.get("thinkingConfig") or {}),
        limit=config.get("maxOutputTokens"),
        stops=tuple(config.get("stopSequences") or ()),
        tokens=_tokens(contents) + _tokens(system),
    )


def _last_user_text(contents: list[Content]) -> str:
    for turn in reversed(contents):
        texts = [part["text"] for part in turn.get("parts", []) if "text" in part]
        if turn.get("role") == "user" and texts:
            return " ".join(texts)
    return ""


def _result_text(response: Content) -> str:
    result = response.get("response") or {}
    return str(result.get("output", result.get("error", result)))


def _tools_from_declarations(tools: list[Content]) -> tuple[OfferedTool, ...]:
    functions = [function for tool in tools for function in tool.get("functionDeclarations", [])]
    return tuple(OfferedTool(function["name"], _parameters(function)) for function in functions)


def _parameters(function: Content) -> Content:
    schema = function.get("parametersJsonSchema") or function.get("parameters")
    return schema or {"type": "object"}


def _mime(part: Content) -> str:
    return str((part.get("inlineData") or part.get("fileData") or {}).get("mimeType", ""))


def _media_url(part: Content) -> str:
    inline = part.get("inlineData")
    if inline:
        return f"data:{inline['mimeType']};base64,{inline['data']}"
    return str(part["fileData"]["fileUri"])


def _effort(config: Content) -> str:
    if "thinkingLevel" in config:
        return str(config["thinkingLevel"])
    budget = config.get("thinkingBudget", -1)
    if budget < 0:
        return "medium"
    return next((effort for most, effort in EFFORTS if budget <= most), "high")


def _tokens(contents: list[Content]) -> int:
    return sum(
        MESSAGE_TOKENS + sum(_part_tokens(part) for part in turn.get("parts", []))
        for turn in contents
    )


def _part_tokens(part: Content) -> int:
    if "text" in part:
        return count_tokens(part["text"])
    return IMAGE_TOKENS if _mime(part).startswith("image/") else MEDIA_TOKENS
