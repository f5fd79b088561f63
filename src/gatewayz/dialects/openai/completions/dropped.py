"""What of an answer a completion cannot carry: a choice has `text` and `logprobs` only."""

from gatewayz.core.events import Kind

DROPPED: dict[str, str] = {
    Kind.REASONING: "`text` is the answer; there is no field for thoughts",
    Kind.TOOL: "a request has no `tools`, and a choice no calls",
    Kind.AUDIO: "`text` is text",
    Kind.IMAGE: "`text` is text",
}
"""Kind of block → why it has no place."""
