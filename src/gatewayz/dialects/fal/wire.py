"""The wire of fal.ai: what its queue answers (docs.fal.ai/model-endpoints/queue)."""

from msgspec import Struct

NAME = "fal_images"


class QueueTicket(Struct, frozen=True):
    """What the queue says of a request that it took: addresses, used as they are."""

    status_url: str
    response_url: str
    cancel_url: str


class QueueStatus(Struct, frozen=True):
    """Where the request stands: `IN_QUEUE`, `IN_PROGRESS`, or `COMPLETED` in any way."""

    status: str = ""
