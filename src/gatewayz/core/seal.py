"""Seals: state that only the provider which made it can read, tagged with its name while it is
away.

Thinking signatures and encrypted reasoning leave for the client as `gwz.<provider>.<value>`; when
they come back the tag is taken off for that provider only. Law: a seal never reaches another
provider, an untagged one reaches none.
"""

PREFIX = "gwz."


def seal(provider: str, value: str) -> str:
    """The value as it leaves for the client. Provider ids hold no dot."""
    return f"{PREFIX}{provider}.{value}"


def unseal(provider: str, value: str) -> str | None:
    """The value for `provider`, or nothing when it is another's or none of ours."""
    mine = f"{PREFIX}{provider}."
    return value[len(mine) :] if value.startswith(mine) else None
