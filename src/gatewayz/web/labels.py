"""Labels in headers, in every dialect: `X-Gatewayz-Tags` and `X-Gatewayz-User`, beside what the request says itself."""

from collections.abc import Mapping

from gatewayz.core.faults import Fault
from gatewayz.core.labels import end_user_of, tags_of
from gatewayz.core.requests import Request

TAGS, USER = "X-Gatewayz-Tags", "X-Gatewayz-User"


def tags_told(headers: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """The header's tags, then the request's own. Faults: `bad_request`."""
    told = headers.get(TAGS.lower(), "")
    if not told:
        return request.tags
    return tags_of((*told.split(","), *request.tags), TAGS)


def user_told(headers: Mapping[str, str], request: Request) -> str:
    """The end user that the header names; the request's own is checked too. Faults: `bad_request`."""
    end_user_of(request.user, "user")
    told = headers.get(USER.lower(), "").strip()
    if not told.isascii():
        raise Fault("bad_request", f"{USER}: a header names an end user in ASCII.", param=USER)
    return end_user_of(told, USER)
