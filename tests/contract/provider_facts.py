"""What each provider's documentation asks for, by hand: a row of providers.toml has a line here."""

from typing import Any, NamedTuple

BEARER = ("authorization", "Bearer KEY")
LIMIT = "max_tokens"
COMPLETION = "max_completion_tokens"

EFFORT = {"reasoning_effort": "high"}
REASONING_OBJECT = {"reasoning": {"effort": "high"}}
THINKING_TYPE = {"thinking": {"type": "enabled"}}
ENABLE_THINKING = {"enable_thinking": True}
TEMPLATE_KWARGS = {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}
TEMPLATE_AND_EFFORT = TEMPLATE_KWARGS | EFFORT
ENABLED_AND_EFFORT = {"reasoning": {"enabled": True}} | EFFORT
"""How `reasoning_effort: high` arrives."""


class Facts(NamedTuple):
    """A chat request as the provider wants it: its path after the host, and where it deviates.

    `limit`: the field of the output limit. `developer`: the role of that name is kept. `absent`:
    fields that must not arrive. `verified`: the facts could be confirmed.
    """

    path: str
    auth: tuple[str, str] | None = BEARER
    limit: str = LIMIT
    effort: dict[str, Any] = {}
    developer: bool = False
    stream_options: bool = True
    absent: str = ""
    verified: bool = True


FACTS = {
    "onerouter": Facts("/v1/chat/completions", effort=EFFORT),
    "openai": Facts("/v1/chat/completions", effort=EFFORT, developer=True),
    "openrouter": Facts("/api/v1/chat/completions", effort=REASONING_OBJECT, developer=True),
    "cerebras": Facts(
        "/v1/chat/completions",
        limit=COMPLETION,
        effort=EFFORT,
        stream_options=False,
        absent="frequency_penalty presence_penalty logit_bias parallel_tool_calls metadata",
    ),
    "groq": Facts(
        "/openai/v1/chat/completions", limit=COMPLETION, effort=EFFORT, absent="logit_bias metadata"
    ),
    "huggingface": Facts("/v1/chat/completions", absent="reasoning_effort"),
    "featherless": Facts("/v1/chat/completions", absent="logit_bias parallel_tool_calls"),
    "fireworks": Facts("/inference/v1/chat/completions", effort=EFFORT, stream_options=False),
    "together": Facts(
        "/v1/chat/completions",
        effort=ENABLED_AND_EFFORT,
        stream_options=False,
        absent="parallel_tool_calls metadata",
    ),
    "xai": Facts(
        "/v1/chat/completions",
        limit=COMPLETION,
        effort=EFFORT,
        stream_options=False,
        absent="logit_bias",
    ),
    "helicone": Facts("/v1/chat/completions", effort=EFFORT),
    "vercel-ai-gateway": Facts("/v1/chat/completions", effort=REASONING_OBJECT, developer=True),
    "aihubmix": Facts("/v1/chat/completions", effort=EFFORT),
    "anannas": Facts("/v1/chat/completions", effort=REASONING_OBJECT),
    "alibaba-cloud": Facts(
        "/compatible-mode/v1/chat/completions",
        effort=ENABLE_THINKING,
        absent="logit_bias frequency_penalty user metadata reasoning_effort",
    ),
    "aws-bedrock": Facts("/openai/v1/chat/completions", effort=EFFORT),
    "alpaca-network": Facts("/chat/completions", verified=False),
    "clarifai": Facts("/v2/ext/openai/v1/chat/completions"),
    "cloudflare-workers-ai": Facts(
        "/client/v4/accounts/acc/ai/v1/chat/completions",
        effort=EFFORT,
        absent="logit_bias parallel_tool_calls user",
    ),
    "morpheus": Facts("/api/v1/chat/completions", absent="seed user metadata logit_bias"),
    "near": Facts("/v1/chat/completions", effort=TEMPLATE_KWARGS, absent="reasoning_effort"),
    "simplismart": Facts("/chat/completions", verified=False),
    "sybil": Facts("/v1/chat/completions", verified=False),
    "nosana": Facts("/api/v1/chat/completions", verified=False),
    "zai": Facts(
        "/api/paas/v4/chat/completions",
        effort=THINKING_TYPE,
        stream_options=False,
        absent="seed logit_bias presence_penalty frequency_penalty",
    ),
    "aimo": Facts("/api/v1/chat/completions", verified=False),
    "chutes": Facts("/v1/chat/completions", effort=TEMPLATE_AND_EFFORT, stream_options=False),
    "deepseek": Facts(
        "/chat/completions",
        effort=THINKING_TYPE,
        absent="seed logit_bias parallel_tool_calls metadata user",
    ),
    "mistral": Facts(
        "/v1/chat/completions",
        effort=EFFORT,
        stream_options=False,
        absent="seed logit_bias user metadata stream_options",
    ),
    "cohere": Facts(
        "/compatibility/v1/chat/completions",
        effort=EFFORT,
        absent="logit_bias metadata parallel_tool_calls user",
    ),
    "deepinfra": Facts("/v1/openai/chat/completions", effort=EFFORT, absent="logit_bias user"),
    "moonshot": Facts("/v1/chat/completions", effort=THINKING_TYPE, absent="seed logit_bias"),
    "minimax": Facts(
        "/v1/chat/completions", absent="logit_bias presence_penalty frequency_penalty"
    ),
    "novita": Facts("/openai/v1/chat/completions", effort=ENABLE_THINKING),
    "nebius": Facts("/v1/chat/completions", effort=EFFORT),
    "perplexity": Facts(
        "/chat/completions", stream_options=False, absent="tools stop seed logit_bias user"
    ),
    "sambanova": Facts(
        "/v1/chat/completions",
        effort=TEMPLATE_AND_EFFORT,
        stream_options=False,
        absent="seed logit_bias presence_penalty frequency_penalty",
    ),
    "azure-openai": Facts(
        "/openai/v1/chat/completions",
        auth=("api-key", "KEY"),
        limit=COMPLETION,
        effort=EFFORT,
        developer=True,
    ),
    "ollama": Facts("/v1/chat/completions", effort=EFFORT, absent="logit_bias user tool_choice"),
    "vllm": Facts("/v1/chat/completions", effort=TEMPLATE_AND_EFFORT),
    "lm-studio": Facts("/v1/chat/completions"),
    "llama-cpp": Facts("/v1/chat/completions", effort=TEMPLATE_AND_EFFORT),
    "simulator": Facts("/v1/chat/completions", auth=None, effort=EFFORT, developer=True),
}

NATIVE = {"google-ai-studio", "google-vertex", "anthropic"}
"""Rows of other dialects, with suites of their own."""

IMAGES = {"fal"}
"""Providers that make images and nothing else."""
