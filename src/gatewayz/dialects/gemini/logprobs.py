"""Candidate.LogprobsResult in the canon's words, which are those of OpenAI's `logprobs`."""

from typing import Any


def logprobs_from_wire(result: Any) -> dict[str, Any] | None:
    """The chosen tokens, each with its likeliest alternatives; `None` for what is no result."""
    if not isinstance(result, dict) or not isinstance(result.get("chosenCandidates"), list):
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []

    content = []
    for number, chosen in enumerate(result["chosenCandidates"]):
        top = tops[number] if number < len(tops) else None
        others = top.get("candidates") if isinstance(top, dict) else None
        alternatives = [_token(other) for other in others or () if isinstance(other, dict)]
        token = _token(chosen if isinstance(chosen, dict) else {})
        content.append(token | {"top_logprobs": alternatives})
    return {"content": content, "refusal": None}


def _token(candidate: dict[str, Any]) -> dict[str, Any]:
    token = str(candidate.get("token") or "")
    logprob = candidate.get("logProbability")
    return {
        "token": token,
        "logprob": logprob if isinstance(logprob, int | float) else 0.0,
        "bytes": list(token.encode(errors="replace")),
    }
