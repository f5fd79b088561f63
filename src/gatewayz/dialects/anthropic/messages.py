"""The conversation, both ways: messages to a system prompt and turns.

Tool results are blocks of a user's turn; here they are messages of their own. Turns of the same
role that follow each other become one, as the API itself would make them: "Consecutive `user` or
`assistant` turns in your request will be combined into a single turn".
"""

from typing import Any

from gatewayz.core.conversation import Message, Part, Role, ToolResult
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.anthropic.block_writer import MessagesBlockWriter, text_or_blocks
from gatewayz.dialects.anthropic.blocks import parts_from_wire
from gatewayz.dialects.anthropic.wire import WireBlock
from gatewayz.dialects.kit.cache_marks import MARK, mark_last_block
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.tool_turns import with_unique_ids

MAX_MESSAGES = 10_000
ROLES = ("user", "assistant", "system")
SYSTEM_ROLES = frozenset({"system", "developer"})
FIRST_USER_TEXT = "Continue."
"""What stands first when a conversation of another dialect does not begin with its user."""


def messages_from_wire(fields: Fields) -> tuple[Message, ...]:
    """The system prompt and all turns. Faults: `bad_request` names what is wrong."""
    messages: list[Message] = []
    if fields.rest.get("system") is not None:
        parts = parts_from_wire(fields, "system")
        messages += [Message("system", parts)] if parts else []

    turns = fields.objects("messages", MAX_MESSAGES)
    if not turns:
        fields.raise_missing("messages")
    for index, turn in enumerate(turns):
        messages += _messages_from_turn(Fields(turn, fields.path_inside(f"messages[{index}]")))
    return tuple(messages)


def _messages_from_turn(fields: Fields) -> list[Message]:
    role = fields.text("role") or fields.raise_missing("role")
    if role not in ROLES:
        fields.raise_invalid("role", f"expected one of {', '.join(ROLES)}, but got {role!r}")

    parts = parts_from_wire(fields, "content")
    extra = {name: value for name, value in fields.rest.items() if value is not None}
    if role != "user" or not any(isinstance(part, ToolResult) for part in parts):
        return [Message(role, parts, extra=extra)]  # type: ignore[arg-type]
    return _split_tool_results(parts, extra)


def _split_tool_results(parts: tuple[Part, ...], extra: dict[str, Any]) -> list[Message]:
    """Results as messages of the tool, and what stands between and after them as the user's.

    The extra fields of the turn go to its last message.
    """
    messages: list[Message] = []
    user_parts: list[Part] = []
    for part in parts:
        if not isinstance(part, ToolResult):
            user_parts.append(part)
            continue
        if user_parts:
            messages.append(Message("user", tuple(user_parts)))
            user_parts = []
        messages.append(Message("tool", (part,)))
    if user_parts:
        messages.append(Message("user", tuple(user_parts)))

    *before, last = messages
    return [*before, Message(last.role, last.parts, extra=extra)]


class MessagesBuilder:
    """A conversation as it is written: the system's blocks, and turns of alternating roles."""

    def __init__(self, writer: MessagesBlockWriter) -> None:
        self._writer = writer
        self.system: list[WireBlock] = []
        self.turns: list[dict[str, Any]] = []

    def add_message(self, message: Message) -> None:
        """Adds a message; only in this dialect may a system's message stand between turns."""
        writer = self._writer
        if message.name:
            writer.dropped.add("name")
        blocks = writer.blocks(_flatten_function_results(message, writer))
        extra = message.extra
        if extra and not writer.same_dialect:
            # Only a mark has crossed, and a turn of this dialect has none of its own.
            mark_last_block(blocks, extra[MARK])
            extra = {}
        if message.role in SYSTEM_ROLES and (not self.turns or not writer.same_dialect):
            self.system += blocks
        elif blocks or writer.same_dialect:
            self._append_turn(WIRE_ROLES[message.role], blocks, extra)

    def _append_turn(self, role: str, blocks: list[WireBlock], extra: dict[str, Any]) -> None:
        last = self.turns[-1] if self.turns else None
        if last is not None and last["role"] == role:
            last["content"] += blocks
            last.update(extra)
        else:
            self.turns.append({"role": role, "content": blocks, **extra})

    def to_wire(self) -> dict[str, Any]:
        """`system` and `messages`."""
        if not self._writer.same_dialect:
            self._make_acceptable()

        body: dict[str, Any] = {"system": text_or_blocks(self.system)} if self.system else {}
        body["messages"] = [
            {**turn, "content": text_or_blocks(turn["content"])} for turn in self.turns
        ]
        return body

    def _make_acceptable(self) -> None:
        """Mends what only other dialects allow: another beginning, and a blank at the end."""
        if not self.turns or self.turns[0]["role"] != "user":
            block = {"type": "text", "text": FIRST_USER_TEXT}
            self.turns.insert(0, {"role": "user", "content": [block]})

        last = self.turns[-1]
        if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
            # 'messages: final assistant content cannot end with trailing whitespace'.
            last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


WIRE_ROLES: dict[Role, str] = {
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


def build_messages(request: ChatRequest, writer: MessagesBlockWriter) -> MessagesBuilder:
    """The conversation of a request."""
    builder = MessagesBuilder(writer)
    # 'messages.3.content.0: `tool_use` ids must be unique'.
    same = writer.same_dialect
    for message in request.messages if same else with_unique_ids(request.messages):
        builder.add_message(message)
    return builder


def is_thinking_refused(turns: list[dict[str, Any]]) -> bool:
    """Whether a budget would be refused: the tool loop under way does not begin with a thought.

    'Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled,
    a final `assistant` message must start with a thinking block (preceeding the lastmost set of
    `tool_use` and `tool_result` blocks).'
    """
    match turns:
        case [*_, {"role": "assistant", "content": [first, *_] as blocks}, {"role": "user"}]:
            has_calls = any(block["type"] == "tool_use" for block in blocks)
            return has_calls and first["type"] not in {"thinking", "redacted_thinking"}
    return False


def _flatten_function_results(message: Message, writer: MessagesBlockWriter) -> tuple[Part, ...]:
    """The parts; results of OpenAI's old functions, which have no id, go on as their texts."""
    if message.role != "tool" or all(
        not isinstance(part, ToolResult) or part.call_id for part in message.parts
    ):
        return message.parts
    writer.dropped.add("function")
    return tuple(
        inner
        for part in message.parts
        for inner in (part.parts if isinstance(part, ToolResult) else (part,))
    )
