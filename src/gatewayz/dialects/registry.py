"""Which dialect is spoken where: client roles by path, upstream roles by name."""

from typing import Any

from gatewayz.dialects.anthropic_messages.roles import (
    AnthropicCountClient,
    AnthropicMessagesClient,
    AnthropicMessagesUpstream,
)
from gatewayz.dialects.base import ClientRole, UpstreamRole
from gatewayz.dialects.fal_images.roles import FalImagesUpstream
from gatewayz.dialects.gemini.embeddings import GeminiEmbeddingsUpstream, VertexEmbeddingsUpstream
from gatewayz.dialects.gemini.images import GeminiImagesUpstream
from gatewayz.dialects.gemini.roles import GeminiUpstream
from gatewayz.dialects.openai_chat.roles import OpenAIChatClient, OpenAIChatUpstream
from gatewayz.dialects.openai_completions.roles import OpenAICompletionsClient
from gatewayz.dialects.openai_embeddings.roles import (
    OpenAIEmbeddingsClient,
    OpenAIEmbeddingsUpstream,
)
from gatewayz.dialects.openai_images.roles import OpenAIImagesClient, OpenAIImagesUpstream
from gatewayz.dialects.vertex_predict.roles import VertexPredictUpstream

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
