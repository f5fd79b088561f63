"""The dialects: client roles by the path that clients call, upstream roles by name."""

from typing import Any

from gatewayz.dialects.anthropic.roles import (
    AnthropicCountClient,
    AnthropicMessagesClient,
    AnthropicMessagesUpstream,
)
from gatewayz.dialects.fal.roles import FalImagesUpstream
from gatewayz.dialects.gemini.embeddings import GeminiEmbeddingsUpstream
from gatewayz.dialects.gemini.images import GeminiImagesUpstream
from gatewayz.dialects.gemini.roles import GeminiUpstream
from gatewayz.dialects.kit.base import ClientRole, UpstreamRole
from gatewayz.dialects.openai.chat.roles import OpenAIChatClient, OpenAIChatUpstream
from gatewayz.dialects.openai.completions.roles import OpenAICompletionsClient
from gatewayz.dialects.openai.embeddings.roles import (
    OpenAIEmbeddingsClient,
    OpenAIEmbeddingsUpstream,
)
from gatewayz.dialects.openai.images.roles import OpenAIImagesClient, OpenAIImagesUpstream
from gatewayz.dialects.vertex.embeddings import VertexEmbeddingsUpstream
from gatewayz.dialects.vertex.roles import VertexPredictUpstream

CLIENTS: dict[str, ClientRole] = {
    "/v1/chat/completions": OpenAIChatClient(),
    "/v1/messages": AnthropicMessagesClient(),
    "/v1/messages/count_tokens": AnthropicCountClient(),
    "/v1/completions": OpenAICompletionsClient(),
    "/v1/images/generations": OpenAIImagesClient(),
    "/v1/embeddings": OpenAIEmbeddingsClient(),
}

UPSTREAMS: dict[str, UpstreamRole[Any]] = {
    OpenAIChatUpstream.name: OpenAIChatUpstream(),
    OpenAIImagesUpstream.name: OpenAIImagesUpstream(),
    OpenAIEmbeddingsUpstream.name: OpenAIEmbeddingsUpstream(),
    FalImagesUpstream.name: FalImagesUpstream(),
    VertexPredictUpstream.name: VertexPredictUpstream(),
    GeminiUpstream.name: GeminiUpstream(),
    GeminiImagesUpstream.name: GeminiImagesUpstream(),
    GeminiEmbeddingsUpstream.name: GeminiEmbeddingsUpstream(),
    VertexEmbeddingsUpstream.name: VertexEmbeddingsUpstream(),
    AnthropicMessagesUpstream.name: AnthropicMessagesUpstream(),
}
