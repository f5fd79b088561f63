"""Context overflow in an API's own words, because its clients act on them.

An agent that reads them shortens its conversation, or asks for a shorter answer, and goes on; of
any other words it only knows that it failed. What the provider said stands behind them.
"""

import re
from typing import NamedTuple

from gatewayz.core.faults import MAX_MESSAGE, ContextOverflow, Fault

OVERFLOW_KINDS = frozenset({"too_long", "upstream_too_long"})
"""Kinds of fault that are told in these words: found here, or said by the provider."""


class OverflowWords(NamedTuple):
    """How an API says it: for a prompt by itself, for a prompt and the limit of its answer, with the
    model's limit only, and without figures. `known` matches what is in these words already.

    Example of `prompt`: `prompt is too long: {tokens} tokens > {limit} maximum`.
    """

    known: re.Pattern[str]
    prompt: str
    with_output: str
    limit_only: str
    plain: str


def overflow_message(fault: Fault, words: OverflowWords) -> str:
    """What a client is told of an overflow.

    Example: `prompt is too long: 200000 tokens > 128000 maximum. This model's maximum context …`
    """
    sentence = fault.message
    if fault.upstream is not None and fault.upstream.message:
        sentence = fault.upstream.message
    if words.known.match(sentence):
        return sentence
    return f"{_head(fault.overflow or ContextOverflow(), words)} {sentence}".strip()[:MAX_MESSAGE]


def _head(overflow: ContextOverflow, words: OverflowWords) -> str:
    tokens, limit, output = overflow.tokens, overflow.limit, overflow.output
    if limit is None:
        return words.plain
    if tokens is not None and tokens > limit:
        return words.prompt.format(tokens=tokens, limit=limit)
    if tokens is not None and output is not None and tokens + output > limit:
        total = tokens + output
        return words.with_output.format(tokens=tokens, output=output, limit=limit, total=total)
    return words.limit_only.format(limit=limit)
