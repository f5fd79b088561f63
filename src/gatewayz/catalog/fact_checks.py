"""Fact checks: what a list says beside its prices, and is not believed.

A limit that is read as too small shuts an offer, one that is too large holds too much money; an
input or a parameter that a list leaves out shuts it to whoever uses that, and an output that it adds
wants a price that nobody named.
"""

from collections.abc import Iterable

from gatewayz.catalog.offers import PARAMETER_CAPABILITIES

MODALITIES = ("text", "image", "audio", "video", "file", "embeddings")
"""Words for what goes in and comes out; a list that has others says nothing by them."""
MODALITY_SPELLINGS = {
    "pdf": "file",
    "document": "file",
    "images": "image",
    "embedding": "embeddings",
}
FEATURES_BY_CAPABILITY = {"tools": "tools", "structured_outputs": "json_schema"}
"""Parameter that says what an offer can do → the feature by which the package says it."""
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


def modalities_from_words(words: Iterable[str]) -> tuple[str, ...]:
    """The words that are modalities, in our spelling, each once.

    Example: `modalities_from_words(["Text", "pdf", "smell"])` is `("text", "file")`
    """
    lower = (word.lower() for word in words)
    spelled = (MODALITY_SPELLINGS.get(word, word) for word in lower)
    return tuple(dict.fromkeys(word for word in spelled if word in MODALITIES))


def missing_words(listed: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """What the package knows of an offer and its list leaves out."""
    there = set(listed)
    return tuple(word for word in known if word not in there)


def missing_parameters(listed: Iterable[str], features: Iterable[str]) -> tuple[str, ...]:
    """The parameters that keep requests away, which the package knows and a list leaves out."""
    known = set(features)
    return missing_words(
        listed,
        (name for name in PARAMETER_CAPABILITIES if FEATURES_BY_CAPABILITY[name] in known),
    )
