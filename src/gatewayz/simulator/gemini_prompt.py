"""What a `generateContent` request asks for: Gemini's words, as the simulator reads them."""

from typing import Any

from gatewayz.simulator.oracle import IMAGE_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS, Asked, tokens_of
from gatewayz.simulator.prompts import Offered, Prompt

Content = dict[str, Any]
CHOICES = {"AUTO": "auto", "NONE": "none", "ANY": "required", "VALIDATED": "auto"}
EFFORTS = ((0, "none"), (1_024, "low"), (8_192, "medium"))


def prompt_from(asked: Asked) -> Prompt:
    """The prompt of a request; broken ones ask for nothing."""
    content = asked.content
    contents = [turn for turn in content.get("contents", []) if isinstance(turn, dict)]
    parts = [part for turn in contents for part in turn.get("parts", [])]
    config = content.get("generationConfig") or {}
    calling = (content.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames") or []
    media = [part for part in parts if "inlineData" in part or "fileData" in part]
    return Prompt(
        number=asked.number,
        text=_last_user_text(contents),
        results=tuple(
            _result(part["functionResponse"]) for part in parts if "functionResponse" in part
        ),
        tools=_offered(content.get("tools") or []),
        choice="named" if allowed else CHOICES[calling.get("mode", "AUTO")],
        named=allowed[0] if allowed else "",
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        images=tuple(_address(part) for part in media if _mime(part).startswith("image/")),
        files=tuple(_mime(part) for part in media if _mime(part).startswith("application/")),
        sounds=tuple(
            _mime(part).removeprefix("audio/") for part in media if _mime(part).startswith("audio/")
        ),
        effort=_effort(config.get("thinkingConfig") or {}),
        limit=config.get("maxOutputTokens"),
        stops=tuple(config.get("stopSequences") or ()),
        tokens=_tokens(contents)
        + _tokens([content["systemInstruction"]] if "systemInstruction" in content else []),
    )


def _last_user_text(contents: list[Content]) -> str:
    for turn in reversed(contents):
        texts = [part["text"] for part in turn.get("parts", []) if "text" in part]
        if turn.get("role") == "user" and texts:
            return " ".join(texts)
    return ""


def _result(response: Content) -> str:
    told = response.get("response") or {}
    return str(told.get("output", told.get("error", told)))


def _offered(tools: list[Content]) -> tuple[Offered, ...]:
    declared = [function for tool in tools for function in tool.get("functionDeclarations", [])]
    return tuple(
        Offered(
            each["name"],
            each.get("parametersJsonSchema") or each.get("parameters") or {"type": "object"},
        )
        for each in declared
    )


def _mime(part: Content) -> str:
    return str((part.get("inlineData") or part.get("fileData") or {}).get("mimeType", ""))


def _address(part: Content) -> str:
    inline = part.get("inlineData")
    return (
        f"data:{inline['mimeType']};base64,{inline['data']}"
        if inline
        else str(part["fileData"]["fileUri"])
    )


def _effort(config: Content) -> str:
    if "thinkingLevel" in config:
        return str(config["thinkingLevel"])
    budget = config.get("thinkingBudget", -1)
    return (
        "medium" if budget < 0 else next((word for most, word in EFFORTS if budget <= most), "high")
    )


def _tokens(contents: list[Content]) -> int:
    return sum(
        MESSAGE_TOKENS + sum(_part_tokens(part) for part in turn.get("parts", []))
        for turn in contents
    )


def _part_tokens(part: Content) -> int:
    if "text" in part:
        return tokens_of(part["text"])
    return IMAGE_TOKENS if _mime(part).startswith("image/") else MEDIA_TOKENS
