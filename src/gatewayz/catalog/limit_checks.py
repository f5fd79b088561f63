"""Limit checks: which context and which longest output of a list are not believed.

A limit that is read as too small shuts an offer, one that is too large holds too much money.
"""

MIN_CONTEXT = 512
MAX_CONTEXT = 20_000_000
"""Twice the longest context that is sold."""
MIN_OUTPUT = 128
MAX_OWN_RATIO = 16
"""How many times a limit may be above or below what the same offer had."""
MAX_MODEL_RATIO = 64
"""How many times below the model's longest context an offer may be: some serve it much shorter."""


def why_odd_context(tokens: int, before: int | None, longest: int | None) -> str:
    """What is wrong with a context in tokens; empty when nothing is."""
    if not MIN_CONTEXT <= tokens <= MAX_CONTEXT:
        return f"no model has a context of {tokens} tokens"
    if before and not before <= tokens * MAX_OWN_RATIO <= before * MAX_OWN_RATIO**2:
        return f"the context was {before} tokens, and is listed at {tokens}"
    if longest and tokens * MAX_MODEL_RATIO < longest:
        return f"others serve a context of {longest} tokens, and {tokens} are listed"
    return ""


def why_odd_output(tokens: int, before: int | None, context: int | None) -> str:
    """What is wrong with the longest output in tokens; empty when nothing is."""
    if not MIN_OUTPUT <= tokens <= (context or MAX_CONTEXT):
        return f"no answer in a context of {context or MAX_CONTEXT} tokens has {tokens}"
    if before and not before <= tokens * MAX_OWN_RATIO <= before * MAX_OWN_RATIO**2:
        return f"the longest output was {before} tokens, and is listed at {tokens}"
    return ""
