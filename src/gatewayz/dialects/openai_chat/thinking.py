"""Thinking that hides in the text between `<think>` tags, told apart while it streams.

Law: any cut of the text gives the same reasoning and the same answer. At most a tag's length is held back.
"""

from gatewayz.core.events import Kind

OPEN, CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Splits text into pieces of reasoning and answer. `inside`: the text begins in the middle of a thought."""

    def __init__(self, *, inside: bool) -> None:
        self._inside = inside
        self._held = ""
        self._fresh = True

    def feed(self, text: str) -> list[tuple[Kind, str]]:
        """The pieces that are certain now; the beginning of a possible tag waits for more."""
        return self._split(self._held + text, final=False)

    def close(self) -> list[tuple[Kind, str]]:
        return self._split(self._held, final=True)

    def _split(self, text: str, *, final: bool) -> list[tuple[Kind, str]]:
        pieces: list[tuple[Kind, str]] = []
        while True:
            tag = CLOSE if self._inside else OPEN
            before, found, after = text.partition(tag)
            if not found:
                break
            self._emit(pieces, before)
            self._inside, self._fresh = not self._inside, True
            text = after
        keep = 0 if final else _overlap(text, CLOSE if self._inside else OPEN)
        self._held = text[len(text) - keep :]
        self._emit(pieces, text[: len(text) - keep])
        return pieces

    def _emit(self, pieces: list[tuple[Kind, str]], text: str) -> None:
        # The line breaks that templates put around the tags belong to neither side.
        if self._fresh:
            text = text.lstrip("\n")
        if text:
            self._fresh = False
            pieces.append((Kind.REASONING if self._inside else Kind.TEXT, text))


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` begin `tag`."""
    return next(
        (size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])),
        0,
    )
