"""What both directions of OpenAI's images know: names, events, the form of an image."""

from typing import Any

from gatewayz.dialects.kit.images import base64_of

NAME = "openai_images"
PATH = "/images/generations"
PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"
"""Types of the events of a stream."""


def image_to_wire(url: str, encoding: str) -> dict[str, Any]:
    """An image under the name of the form in which the client gets it; a data URL is a URL too."""
    text = base64_of(url)
    return {"b64_json": text} if text and encoding != "url" else {"url": url}
