"""The conversation, both ways: messages to a system prompt and turns.

Tool results are blocks of a user's turn; here they are messages of their own. Turns of the same role that follow each
other become one, as the API itself would make them: "Consecutive `user` or `assistant` turns in your request will be
combined into a single turn".
"""

from typing import Any

from gatewayz.core.conversation import Message, Part, Role, ToolResult
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.anthropic_messages.blocks import (
    Block,
    Speaker,
    parts_from_wire,
    plain_or_blocks,
)
from gatewayz.dialects.fields import Fields

MAX_MESSAGES = 10_000
ROLES = ("user", "assistant", "system")
SYSTEM = frozenset({"system", "developer"})
BEGINNING = "Continue."
"""What stands first when a conversation of another dialect does not begin with its user, as it must here."""


def messages_from_wire(fields: Fields) -> tuple[Message, ...]:
    """The system prompt and all turns. Faults: `bad_request` names what is wrong."""
    found: list[Message] = []
    if fields.rest.get("system") is not None:
        parts = parts_from_wire(fields, "system")
        found += [Message("system", parts)] if parts else []
    items = fields.objects("messages", MAX_MESSAGES)
    if not items:
        fields.missing("messages")
    for index, item in enumerate(items):
        found += _turn(Fields(item, fields.inside(f"messages[{index}]")))
    return tuple(found)


def _turn(fields: Fields) -> list[Message]:
    role = fields.text("role") or fields.missing("role")
    if role not in ROLES:
        fields.wrong("role", f"expected one of {', '.join(ROLES)}, but got {role!r}")
    parts = parts_from_wire(fields, "content")
    extra = {name: value for name, value in fields.rest.items() if value is not None}
    if role != "user" or not any(isinstance(part, ToolResult) for part in parts):
        return [Message(role, parts, extra=extra)]  # type: ignore[arg-type]
    return _parted(parts, extra)


def _parted(parts: tuple[Part, ...], extra: dict[str, Any]) -> list[Message]:
    """Results as messages of the tool, and what stands between and after them as the user's."""
    found: list[Message] = []
    said: list[Part] = []
    for part in parts:
        if not isinstance(part, ToolResult):
            said.append(part)
            continue
        if said:
            found.append(Message("user", tuple(said)))
            said = []
        found.append(Message("tool", (part,)))
    if said:
        found.append(Message("user", tuple(said)))
    return [*found[:-1], Message(found[-1].role, found[-1].parts, extra=extra)]


class Conversation:
    """A conversation being spelled: the system's blocks, and turns of alternating roles."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []

    def tell(self, message: Message) -> None:
        speaker = self._speaker
        if message.name:
            speaker.lost.add("name")
        blocks = speaker.blocks(_without_old_results(message, speaker))
        if message.role in SYSTEM and (not self.turns or not speaker.own):
            self.system += blocks
        elif blocks or speaker.own:
            self._add(TURNS[message.role], blocks, message.extra)

    def _add(self, role: str, blocks: list[Block], extra: dict[str, Any]) -> None:
        last = self.turns[-1] if self.turns else None
        if last is not None and last["role"] == role:
            last["content"] += blocks
            last.update(extra)
        else:
            self.turns.append({"role": role, "content": blocks, **extra})

    def wire(self) -> dict[str, Any]:
        """`system` and `messages`."""
        if not self._speaker.own:
            self._made_acceptable()
        body: dict[str, Any] = {"system": plain_or_blocks(self.system)} if self.system else {}
        body["messages"] = [
            {**turn, "content": plain_or_blocks(turn["content"])} for turn in self.turns
        ]
        return body

    def _made_acceptable(self) -> None:
        """What other dialects allow and this one refuses: another beginning, and a trailing blank at the end."""
        if not self.turns or self.turns[0]["role"] != "user":
            self.turns.insert(0, {"role": "user", "content": [{"type": "text", "text": BEGINNING}]})
        last = self.turns[-1]
        if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
            # 'messages: final assistant content cannot end with trailing whitespace'.
            last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


TURNS: dict[Role, str] = {
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


def conversation_of(request: ChatRequest, speaker: Speaker) -> Conversation:
    conversation = Conversation(speaker)
    for message in request.messages:
        conversation.tell(message)
    return conversation


def thinks_in_vain(turns: list[dict[str, Any]]) -> bool:
    """Whether thinking with a budget would be refused, because the tool loop under way does not begin with a thought.

    'Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant`
    message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks).'
    """
    match turns:
        case [*_, {"role": "assistant", "content": [first, *_] as blocks}, {"role": "user"}]:
            calls = any(block["type"] == "tool_use" for block in blocks)
            return calls and first["type"] not in {"thinking", "redacted_thinking"}
    return False


def _without_old_results(message: Message, speaker: Speaker) -> tuple[Part, ...]:
    """The parts; results of the functions before there were ids go on as their texts."""
    if message.role != "tool" or all(
        not isinstance(part, ToolResult) or part.call_id for part in message.parts
    ):
        return message.parts
    speaker.lost.add("function")
    return tuple(
        inner
        for part in message.parts
        for inner in (part.parts if isinstance(part, ToolResult) else (part,))
    )
