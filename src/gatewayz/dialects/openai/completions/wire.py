"""What OpenAI's completions are called, and their words for why an answer ends."""

from gatewayz.core.events import Stop

NAME = "openai_completions"
REASONS = {
    Stop.END: "stop",
    Stop.SEQUENCE: "stop",
    Stop.TOOL: "stop",
    Stop.LENGTH: "length",
    Stop.FILTER: "content_filter",
}
