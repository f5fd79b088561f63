"""Roles whose answers come whole, inside their steps: images in a queue, vectors, predictions."""

from gatewayz.core.faults import Fault
from gatewayz.core.requests import Capability
from gatewayz.dialects.kit.base import DecodeOptions, Decoder


class WholeAnswers:
    """The half of an upstream role that has nothing to decode while it streams: mix it in."""

    name: str
    lacks: frozenset[Capability] = frozenset()

    def decoder(self, content_type: str, options: DecodeOptions) -> Decoder:
        """No step of such a role hands its answer to a decoder."""
        raise Fault("internal", f"answers of {self.name} come whole, so nothing decodes a stream")
