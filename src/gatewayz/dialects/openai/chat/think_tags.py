"""Thinking that hides in the text between `<think>` tags, told apart while it streams.

Law: any cut of the text gives the same reasoning and the same answer. At most a tag's length waits.
"""

from gatewayz.core.events import Kind

OPEN, CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Splits text into pieces of reasoning and answer; `inside`: it begins within a thought."""

    def __init__(self, *, inside: bool) -> None:
        self._inside = inside
        self._pending = ""
        self._at_start = True

    def feed(self, text: str) -> list[tuple[Kind, str]]:
        """The pieces that are certain now; the beginning of a possible tag waits for more."""
        return self._split(self._pending + text, final=False)

    def close(self) -> list[tuple[Kind, str]]:
        """What waited, when the text has ended."""
        return self._split(self._pending, final=True)

    def _split(self, text: str, *, final: bool) -> list[tuple[Kind, str]]:
        pieces: list[tuple[Kind, str]] = []
        while True:
            tag = CLOSE if self._inside else OPEN
            before, separator, after = text.partition(tag)
            if not separator:
                break
            self._emit(pieces, before)
            self._inside, self._at_start = not self._inside, True
            text = after

        waiting = 0 if final else _overlap(text, tag)
        self._pending = text[len(text) - waiting :]
        self._emit(pieces, text[: len(text) - waiting])
        return pieces

    def _emit(self, pieces: list[tuple[Kind, str]], text: str) -> None:
        # The line breaks that templates put around the tags belong to neither side.
        if self._at_start:
            text = text.lstrip("\n")
        if text:
            self._at_start = False
            pieces.append((Kind.REASONING if self._inside else Kind.TEXT, text))


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` begin `tag`."""
    return next(
        (size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])),
        0,
    )
