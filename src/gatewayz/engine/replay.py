"""Replay: an answer, recorded while it is given, so that it can be given again; and how it is."""

from collections.abc import AsyncGenerator, Sequence

from msgspec.structs import replace

from gatewayz.core.calls import Call
from gatewayz.core.events import BlockDelta, Failed, Finished, Frame, UsageReported
from gatewayz.core.replies import Reply, ReplyBuilder, unfold
from gatewayz.ports.replays import StoredReply

MAX_REPLAY_BYTES = 2**20
"""Text of an answer, or its source where that is handed on whole; a longer one is not recorded."""


class ReplayRecorder:
    """Records one answer for as long as it is small enough; `source` is the provider's body, where
    it came whole.
    """

    def __init__(self) -> None:
        self._builder: ReplyBuilder | None = ReplyBuilder()
        self._bytes = 0
        self._finished = False
        self.source: bytes | None = None

    def record(self, frames: Sequence[Frame]) -> None:
        """Takes the next batch; an answer that failed or grew too long is no longer recorded."""
        builder = self._builder
        if builder is None:
            return

        for frame in frames:
            self.source = frame.source if frame.whole else self.source
            for event in frame.events:
                if type(event) is Failed:
                    return
                if type(event) is BlockDelta:
                    self._bytes += len(event.text)
                builder.add(event)
                self._finished = self._finished or type(event) is Finished

        if max(self._bytes, len(self.source or b"")) > MAX_REPLAY_BYTES:
            self._builder = None

    def reply(self) -> Reply | None:
        """The answer, if it is whole and was not too long."""
        return self._builder.reply() if self._builder is not None and self._finished else None


async def replay(stored: StoredReply, call: Call) -> AsyncGenerator[list[Frame], None]:
    """What was recorded, as an answer to another call."""
    events = [
        replace(event, final=True) if type(event) is UsageReported else event
        for event in unfold(stored.reply)
    ]
    if stored.source is not None and not call.request.streamed:
        yield [Frame(tuple(events), stored.source, whole=True)]
    else:
        yield [Frame((event,)) for event in events]
