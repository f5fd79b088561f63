"""What a call can have used at the most: a provider's report is a claim, and is held to it.

The bounds are generous, because a report that is right must never be cut: a token has at least one
byte, an image at most so many tokens. What lies beyond cannot be: it is clamped, marked `repaired`
and told to the operator, and never charged.

| bucket | bound |
|---|---|
| tokens of the prompt | its bytes, images and overhead; the context, where the provider adds to it |
| tokens of the answer | what was asked, else the model's cap, else `MAX_OUTPUT_TOKENS`; a choice |
| … where nothing may be hidden | the bytes that were delivered, too |
| images, pixels | as many as were asked, of the size asked |
| searches | what the tools allow, else `MAX_UNASKED_SEARCHES` |
"""

from functools import singledispatch
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from gatewayz.catalog.offers import Offer
from gatewayz.core.conversation import File, Image, Opaque, OpaqueTool, ToolResult
from gatewayz.core.requests import (
    BaseRequest,
    ChatRequest,
    CountRequest,
    EmbeddingRequest,
    ImageRequest,
)
from gatewayz.core.usage import COMPLETION_BUCKETS, PROMPT_BUCKETS, Usage

PROMPT_OVERHEAD_TOKENS = 8_192
"""What a provider puts around a prompt: its template, what it says of tools and formats."""
MESSAGE_OVERHEAD_TOKENS = 64
TOOL_OVERHEAD_TOKENS = 512
MAX_IMAGE_TOKENS = 65_536
"""One image in a prompt; gpt-4o-mini counts 48,169 for the largest."""
MAX_CONTEXT_TOKENS = 4_000_000
"""A prompt that the provider adds to, of a model whose context nobody knows."""
MAX_OUTPUT_TOKENS = 262_144
"""One answer of a model whose cap nobody knows, to a request without a limit."""
SPECIAL_TOKENS = 256
"""Tokens of an answer that are no text: ends, roles, the frames of thoughts and of tool calls."""
MAX_TOKENS_PER_MADE_IMAGE = 32_768
"""One image that is sold by the token; gpt-image-1 makes 6,240 at the most, partial ones beside."""
MAX_UNSIZED_PIXELS = 4_194_304
"""An image of which no size was asked: 2048 x 2048."""
SIZE_SLACK = 1.1
"""Providers round a size up to multiples of 16 or 64 pixels."""
MEGAPIXEL = 10**6
"""Some bill whole ones."""
MAX_UNASKED_SEARCHES = 10
"""Web searches that a search model makes of itself."""
MAX_SECONDS = 86_400
SEARCH_FIELDS = frozenset({"web_search_options", "plugins", "search_parameters", "enable_search"})
"""Fields by which a provider is asked to add to the prompt what it finds."""


class UsageBounds(NamedTuple):
    """The most that a call can have used.

    Example: a chat of 40 bytes with `max_tokens: 10` has
    `UsageBounds(prompt=8_296, completion=10, images=0, pixels=0, requests=1, searches=10)`.
    """

    prompt: int
    completion: int
    images: int = 0
    pixels: int = 0
    requests: int = 1
    searches: int = 0
    seconds: int = MAX_SECONDS


class OutputBound(NamedTuple):
    """The tokens that all choices together can have; `is_shown`: each of them is delivered.

    Example: `OutputBound(400, is_shown=False)`
    """

    tokens: int
    is_shown: bool

    def within(self, output_bytes: int, choices: int) -> int:
        """The tokens that can have been used of an answer of so many bytes."""
        if not self.is_shown:
            return self.tokens
        return min(self.tokens, output_bytes + SPECIAL_TOKENS * choices)


def bound_usage(
    usage: Usage, request: BaseRequest, offer: Offer, completion: int | None = None
) -> tuple[Usage, str]:
    """The usage within what the request can have used at the offer, marked where it was beyond; and
    what was beyond, in words, empty for nothing. `completion`: a bound of the answer's tokens that
    is better known.
    """
    bounds = usage_bounds(request, offer, usage.prompt)
    most_completion = bounds.completion if completion is None else completion
    beyond: list[str] = []
    changes: dict[str, int] = {}
    if usage.prompt > bounds.prompt:
        changes |= _within_group(usage, PROMPT_BUCKETS, bounds.prompt, "prompt", beyond)
    if usage.completion > most_completion:
        changes |= _within_group(usage, COMPLETION_BUCKETS, most_completion, "completion", beyond)
    for bucket in ("images", "pixels", "requests", "searches", "seconds"):
        units, most = getattr(usage, bucket), getattr(bounds, bucket)
        if units > most:
            changes[bucket] = most
            beyond.append(f"{units} {bucket}, at most {most}")
    if not changes:
        return usage, ""
    return replace(usage, **changes, repaired=True), "; ".join(beyond)


def _within_group(
    usage: Usage, buckets: tuple[str, ...], most: int, name: str, beyond: list[str]
) -> dict[str, int]:
    """The buckets that must be smaller so that their sum is at most `most`; the largest give way."""
    units = {bucket: getattr(usage, bucket) for bucket in buckets}
    excess = sum(units.values()) - most
    beyond.append(f"{excess + most} {name} tokens, at most {most}")

    changes: dict[str, int] = {}
    for bucket in sorted(buckets, key=lambda bucket: -units[bucket]):
        taken = min(excess, units[bucket])
        if taken:
            changes[bucket] = units[bucket] - taken
        excess -= taken
    return changes


@singledispatch
def usage_bounds(request: BaseRequest, offer: Offer, reported_prompt: int) -> UsageBounds:
    """The most that this request can use at the offer.

    The bytes of a prompt are counted only where `reported_prompt` tokens are more than any overhead.
    """
    raise TypeError(type(request).__name__)


@usage_bounds.register
def _(request: ChatRequest, offer: Offer, reported_prompt: int) -> UsageBounds:
    cap = offer.max_output or MAX_OUTPUT_TOKENS
    prompt: int | None = PROMPT_OVERHEAD_TOKENS
    if reported_prompt > PROMPT_OVERHEAD_TOKENS:
        prompt = _prompt_bound(request)
    if prompt is None:
        prompt = (offer.context or MAX_CONTEXT_TOKENS) * (1 + request.searches)
    return UsageBounds(
        prompt=prompt,
        completion=min(request.max_output or cap, cap) * request.choices,
        # A model that draws in a chat says how many images it made.
        images=request.choices * MAX_UNASKED_SEARCHES,
        pixels=request.choices * MAX_UNASKED_SEARCHES * MAX_UNSIZED_PIXELS,
        searches=request.searches or MAX_UNASKED_SEARCHES,
    )


@usage_bounds.register
def _(request: CountRequest, offer: Offer, reported_prompt: int) -> UsageBounds:
    return UsageBounds(prompt=0, completion=0, requests=0)


@usage_bounds.register
def _(request: ImageRequest, offer: Offer, reported_prompt: int) -> UsageBounds:
    if request.size is None:
        pixels = MAX_UNSIZED_PIXELS
    else:
        width, height = request.size
        megapixels = -(-width * height // MEGAPIXEL)
        pixels = max(round(width * height * SIZE_SLACK), megapixels * MEGAPIXEL)
    return UsageBounds(
        prompt=len(request.prompt.encode()) + PROMPT_OVERHEAD_TOKENS,
        completion=request.n * MAX_TOKENS_PER_MADE_IMAGE,
        images=request.n,
        pixels=request.n * pixels,
    )


@usage_bounds.register
def _(request: EmbeddingRequest, offer: Offer, reported_prompt: int) -> UsageBounds:
    tokens = sum(
        len(text.encode()) if isinstance(text, str) else len(text) for text in request.texts
    )
    return UsageBounds(prompt=tokens + MESSAGE_OVERHEAD_TOKENS * len(request.texts), completion=0)


def _prompt_bound(request: ChatRequest) -> int | None:
    """Tokens that the client's own prompt can have; none where the provider adds to it."""
    if SEARCH_FIELDS & request.extra.keys():
        return None
    tokens = PROMPT_OVERHEAD_TOKENS + MESSAGE_OVERHEAD_TOKENS * len(request.messages)
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            # What a hosted tool finds goes into the prompt.
            return None
        tokens += TOOL_OVERHEAD_TOKENS + len(msgspec.json.encode(tool))
    if request.format is not None and request.format.schema is not None:
        tokens += len(msgspec.json.encode(request.format.schema))

    for message in request.messages:
        for part in message.parts:
            for piece in part.parts if isinstance(part, ToolResult) else (part,):
                if isinstance(piece, Opaque):
                    return None
                if isinstance(piece, File) and not piece.content.startswith("data:text/"):
                    # Pages of a document become images, and one by address may have any length.
                    return None
                tokens += (
                    MAX_IMAGE_TOKENS
                    if isinstance(piece, Image)
                    else len(msgspec.json.encode(piece))
                )
    return tokens
