"""Labels in headers: `X-Gatewayz-Tags` and `X-Gatewayz-User`, beside the request's own."""

from collections.abc import Mapping

from gatewayz.core.faults import Fault
from gatewayz.core.labels import parse_end_user, parse_tags
from gatewayz.core.requests import Request

TAGS_HEADER, USER_HEADER = "X-Gatewayz-Tags", "X-Gatewayz-User"


def tags_from_request(headers: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """The header's tags, then the request's own. Faults: `bad_request`."""
    header = headers.get(TAGS_HEADER.lower(), "")
    if not header:
        return request.tags
    return parse_tags((*header.split(","), *request.tags), TAGS_HEADER)


def user_from_request(headers: Mapping[str, str], request: Request) -> str:
    """The end user of the header; the request's own is checked too. Faults: `bad_request`."""
    parse_end_user(request.user, "user")
    user = headers.get(USER_HEADER.lower(), "").strip()
    if not user.isascii():
        raise Fault(
            "bad_request",
            f"{USER_HEADER} must be ASCII; send other names in the request's `user`.",
            param=USER_HEADER,
        )
    return parse_end_user(user, USER_HEADER)
