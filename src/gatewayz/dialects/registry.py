"""Which dialect is spoken where: client roles by path, upstream roles by name."""

from typing import Any

from gatewayz.dialects.base import ClientRole, UpstreamRole
from gatewayz.dialects.openai_chat.roles import OpenAIChatClient, OpenAIChatUpstream

CLIENTS: dict[str, ClientRole] = {
    "/v1/chat/completions": OpenAIChatClient(),
}

UPSTREAMS: dict[str, UpstreamRole[Any]] = {
    OpenAIChatUpstream.name: OpenAIChatUpstream(),
}
