"""Keeping: an answer, collected while it is given, so that it can be given again; and how it is."""

from collections.abc import AsyncGenerator, Sequence

from msgspec.structs import replace

from gatewayz.core.calls import Call
from gatewayz.core.events import BlockDelta, Failed, Finished, Frame, UsageReported
from gatewayz.core.replies import Folder, Reply, unfold
from gatewayz.ports.replays import Kept

MAX_KEPT_BYTES = 2**20
"""Text of an answer, or its source where that is handed on whole; a longer one is not kept."""


class Keeping:
    """Collects one answer for as long as it is small enough to be kept."""

    def __init__(self) -> None:
        self._folder: Folder | None = Folder()
        self._bytes = 0
        self._finished = False
        self.source: bytes | None = None

    def take(self, frames: Sequence[Frame]) -> None:
        folder = self._folder
        if folder is None:
            return
        for frame in frames:
            self.source = frame.source if frame.whole else self.source
            for event in frame.events:
                if type(event) is Failed:
                    return
                if type(event) is BlockDelta:
                    self._bytes += len(event.text)
                folder.add(event)
                self._finished = self._finished or type(event) is Finished
        if max(self._bytes, len(self.source or b"")) > MAX_KEPT_BYTES:
            self._folder = None

    def reply(self) -> Reply | None:
        """The answer, if it is whole and was not too long."""
        return self._folder.reply() if self._folder is not None and self._finished else None


async def again(kept: Kept, call: Call) -> AsyncGenerator[list[Frame], None]:
    """What was kept, as an answer to another call."""
    events = [
        replace(one, final=True) if type(one) is UsageReported else one
        for one in unfold(kept.reply)
    ]
    if kept.source is not None and not call.request.streamed:
        yield [Frame(tuple(events), kept.source, whole=True)]
    else:
        yield [Frame((event,)) for event in events]
