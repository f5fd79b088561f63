"""The official SDKs behind one interface: what a client understood of an answer, whatever its wire format."""

import json
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai

MAX_TOKENS = 4_000


@dataclass
class SdkReply:
    """An answer as a client's SDK has it. `message` is what goes back as the assistant's turn."""

    text: str = ""
    reasoning: str = ""
    tools: list[tuple[str, Any]] = field(default_factory=list)
    stop: str | None = None
    output_tokens: int = 0
    message: Any = None
    call_ids: list[str] = field(default_factory=list)


class ChatClient:
    """OpenAI Chat Completions."""

    surface = "chat"
    stops = {"end": "stop", "length": "length", "filter": "content_filter", "tool": "tool_calls"}
    errors = openai.APIStatusError, openai.APIError

    def __init__(self, gateway: Any) -> None:
        self.client = gateway.client()

    def request_fields(
        self, text: str, *, tools=(), image="", schema=None, thinking=False, turns=()
    ) -> dict[str, Any]:
        content: Any = (
            [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": text}]
            if image
            else text
        )
        fields: dict[str, Any] = {
            "messages": [{"role": "user", "content": content}, *turns],
            "max_tokens": MAX_TOKENS,
        }
        if tools:
            fields["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": schema_}}
                for name, schema_ in tools
            ]
        if schema:
            fields["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema},
            }
        return fields | ({"reasoning_effort": "medium"} if thinking else {})

    def tool_result_messages(self, reply: SdkReply, result: str) -> list[Any]:
        return [
            reply.message,
            {"role": "tool", "tool_call_id": reply.call_ids[0], "content": result},
        ]

    async def complete(self, model: str, **fields: Any) -> SdkReply:
        reply = await self.client.chat.completions.create(model=model, **fields)
        return self._parse_reply(reply.model_dump(exclude_none=True))

    def _parse_reply(self, reply: dict[str, Any]) -> SdkReply:
        choice = reply["choices"][0]
        message = choice["message"]
        calls = message.get("tool_calls") or []
        return SdkReply(
            message.get("content") or "", message.get("reasoning_content") or message.get("reasoning") or "",
            [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls],
            choice["finish_reason"], reply["usage"]["completion_tokens"], message, [call["id"] for call in calls],
        )  # fmt: skip

    async def stream(
        self, model: str, leave_after: int = 0, seen: SdkReply | None = None, **fields: Any
    ) -> SdkReply:
        """Folded as the documentation says; `seen` is filled as it comes, so that a failing stream can be looked at."""
        message: dict[str, Any] = {"role": "assistant"}
        seen = seen if seen is not None else SdkReply()
        calls: dict[int, dict[str, Any]] = {}
        stream = await self.client.chat.completions.create(
            model=model, stream=True, stream_options={"include_usage": True}, **fields
        )
        pieces = 0
        async with stream:
            async for chunk in stream:
                part = chunk.model_dump(exclude_none=True)
                seen.output_tokens = (part.get("usage") or {}).get(
                    "completion_tokens", seen.output_tokens
                )
                for choice in part["choices"]:
                    self._apply_delta(choice["delta"], message, calls, seen)
                    seen.stop = choice.get("finish_reason") or seen.stop
                pieces += bool(seen.text)
                if leave_after and pieces >= leave_after:
                    return seen
        if calls:
            message["tool_calls"] = list(calls.values())
        seen.tools = [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in calls.values()
        ]
        seen.message, seen.call_ids = message, [call["id"] for call in calls.values()]
        return seen

    def _apply_delta(
        self,
        delta: dict[str, Any],
        message: dict[str, Any],
        calls: dict[int, dict[str, Any]],
        seen: SdkReply,
    ) -> None:
        seen.text += delta.get("content") or ""
        seen.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
        message["content"] = seen.text or None
        if delta.get("reasoning_content"):
            message["reasoning_content"] = (
                message.get("reasoning_content", "") + delta["reasoning_content"]
            )
        for call in delta.get("tool_calls") or []:
            known = calls.setdefault(
                call["index"],
                {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
            )
            known["id"] = call.get("id") or known["id"]
            known["function"]["name"] += call["function"].get("name") or ""
            known["function"]["arguments"] += call["function"].get("arguments") or ""
            known.update(
                {
                    name: value
                    for name, value in call.items()
                    if name not in {"index", "id", "type", "function"}
                }
            )
        for detail in delta.get("reasoning_details") or []:
            _merge_detail(detail, message.setdefault("reasoning_details", []))


def _merge_detail(detail: dict[str, Any], details: list[dict[str, Any]]) -> None:
    """Pieces of one detail carry the same index (openrouter.ai/docs, reasoning tokens, streaming)."""
    known = next(
        (
            one
            for one in details
            if (one.get("index"), one["type"]) == (detail.get("index"), detail["type"])
        ),
        None,
    )
    if known is None:
        details.append(dict(detail))
        return
    for name, value in detail.items():
        if value is not None:
            known[name] = (known.get(name) or "") + value if name == "text" else value


class MessagesClient:
    """Anthropic Messages."""

    surface = "messages"
    stops = {"end": "end_turn", "length": "max_tokens", "filter": "refusal", "tool": "tool_use"}
    errors = anthropic.APIStatusError, anthropic.APIError

    def __init__(self, gateway: Any) -> None:
        self.client = gateway.anthropic_client()

    def request_fields(
        self, text: str, *, tools=(), image="", schema=None, thinking=False, turns=()
    ) -> dict[str, Any]:
        content: Any = text
        if image:
            kind, _, data = image.removeprefix("data:").partition(";base64,")
            content = [
                {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}},
                {"type": "text", "text": text},
            ]
        fields: dict[str, Any] = {
            "messages": [{"role": "user", "content": content}, *turns],
            "max_tokens": MAX_TOKENS,
        }
        if tools:
            fields["tools"] = [{"name": name, "input_schema": schema_} for name, schema_ in tools]
        if schema:
            fields["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return fields | (
            {"thinking": {"type": "enabled", "budget_tokens": 2_000}} if thinking else {}
        )

    def tool_result_messages(self, reply: SdkReply, result: str) -> list[Any]:
        answer = {"type": "tool_result", "tool_use_id": reply.call_ids[0], "content": result}
        return [
            {"role": "assistant", "content": reply.message},
            {"role": "user", "content": [answer]},
        ]

    async def complete(self, model: str, **fields: Any) -> SdkReply:
        return self._parse_reply(await self.client.messages.create(model=model, **fields))

    def _parse_reply(self, reply: Any) -> SdkReply:
        tools = [block for block in reply.content if block.type == "tool_use"]
        return SdkReply(
            "".join(block.text for block in reply.content if block.type == "text"),
            "".join(block.thinking for block in reply.content if block.type == "thinking"),
            [(block.name, block.input) for block in tools], reply.stop_reason, reply.usage.output_tokens, reply.content,
            [block.id for block in tools],
        )  # fmt: skip

    async def stream(
        self, model: str, leave_after: int = 0, seen: SdkReply | None = None, **fields: Any
    ) -> SdkReply:
        seen = seen if seen is not None else SdkReply()
        pieces = 0
        async with self.client.messages.stream(model=model, **fields) as stream:
            async for event in stream:
                if event.type == "text":
                    seen.text += event.text
                    pieces += 1
                    if leave_after and pieces >= leave_after:
                        return seen
            return self._parse_reply(await stream.get_final_message())


class CompletionsClient:
    """OpenAI Completions, which know text only."""

    surface = "completions"
    stops = {"end": "stop", "length": "length", "filter": "content_filter"}
    errors = openai.APIStatusError, openai.APIError

    def __init__(self, gateway: Any) -> None:
        self.client = gateway.client()

    def request_fields(self, text: str) -> dict[str, Any]:
        return {"prompt": text, "max_tokens": MAX_TOKENS}

    async def complete(self, model: str, **fields: Any) -> SdkReply:
        reply = await self.client.completions.create(model=model, **fields)
        return SdkReply(
            reply.choices[0].text,
            stop=reply.choices[0].finish_reason,
            output_tokens=reply.usage.completion_tokens,
        )

    async def stream(
        self, model: str, leave_after: int = 0, seen: SdkReply | None = None, **fields: Any
    ) -> SdkReply:
        seen = seen if seen is not None else SdkReply()
        pieces = 0
        async with await self.client.completions.create(
            model=model, stream=True, stream_options={"include_usage": True}, **fields
        ) as stream:
            async for chunk in stream:
                seen.output_tokens = (
                    chunk.usage.completion_tokens if chunk.usage else seen.output_tokens
                )
                for choice in chunk.choices:
                    seen.text += choice.text
                    seen.stop = choice.finish_reason or seen.stop
                pieces += bool(seen.text)
                if leave_after and pieces >= leave_after:
                    return seen
        return seen


SDK_CLIENTS: dict[str, Any] = {
    "chat": ChatClient,
    "messages": MessagesClient,
    "completions": CompletionsClient,
}
