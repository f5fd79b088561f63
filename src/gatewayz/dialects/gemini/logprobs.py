"""`logprobsResult` in the canon's words, which are those of OpenAI's `logprobs` (Candidate.LogprobsResult)."""

from typing import Any


def logprobs_from_wire(told: Any) -> dict[str, Any] | None:
    """What was chosen, each token with its likeliest alternatives; nothing for what is no result."""
    if not isinstance(told, dict) or not isinstance(told.get("chosenCandidates"), list):
        return None
    tops = told.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    for number, chosen in enumerate(told["chosenCandidates"]):
        others = (
            tops[number].get("candidates")
            if number < len(tops) and isinstance(tops[number], dict)
            else None
        )
        alternatives = [_token(other) for other in others or () if isinstance(other, dict)]
        content.append(
            _token(chosen if isinstance(chosen, dict) else {}) | {"top_logprobs": alternatives}
        )
    return {"content": content, "refusal": None}


def _token(candidate: dict[str, Any]) -> dict[str, Any]:
    token = str(candidate.get("token") or "")
    likely = candidate.get("logProbability")
    return {
        "token": token,
        "logprob": likely if isinstance(likely, int | float) else 0.0,
        "bytes": list(token.encode(errors="replace")),
    }
