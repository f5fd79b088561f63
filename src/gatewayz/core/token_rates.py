"""Rates: what a character costs in tokens, by what it is and by what stands before it.

A tokenizer cuts a text where the kind of its characters changes, and knows the pieces that are
frequent: so a letter after a letter costs little, a capital after a digit much. The rates are
fitted to o200k_base by `python -m bench.tokens fit`, and measured by `python -m bench.tokens`
(`docs/reference/tokens.md`).
"""

UNITS_PER_TOKEN = 64
"""All rates are in these parts of a token."""

CLASSES: dict[str, str | tuple[int, ...]] = {
    "consonant": "bcdfghjklmnpqrstvwxz",
    "vowel": "aeiouy",
    "capital": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "digit": "0123456789",
    "space": " ",
    "line end": "\r\n",
    "symbol": "",
    "stop": ",.:;",
    "accented": (0xC3, 0xCB, 0xE1, 0xE1),
    "cyrillic": (0xCC, 0xD4),
    "tab": "\t",
    "alphabet": (0xD5, 0xE0),
    "sign": (0xC2, 0xC2, 0xE2, 0xE2, 0xEE, 0xFF),
    "kana": (0xE3, 0xE3),
    "han": (0xE4, 0xE9),
    "hangul": (0xEA, 0xED),
}
"""Class → its ASCII characters, or the first and last bytes that begin its characters in UTF-8.

What is in no class is a symbol. `cyrillic` has Greek as well; `alphabet` is Hebrew, Arabic and the
scripts of India; `sign` is punctuation, symbols and emoji.
"""

RATES = (
    (14, 13, 80, 64, 0, 102, 8, 0, 0, 9, 38, 10, 23, 38, 18, 0),  # consonant
    (0, 8, 0, 0, 21, 0, 27, 0, 94, 3, 16, 22, 11, 36, 17, 0),  # vowel
    (76, 0, 8, 58, 2, 31, 123, 45, 0, 6, 10, 28, 17, 56, 11, 0),  # capital
    (88, 32, 65, 21, 0, 60, 82, 19, 13, 3, 62, 25, 31, 47, 45, 5),  # digit
    (23, 39, 47, 102, 0, 10, 39, 0, 0, 78, 40, 0, 97, 68, 0, 67),  # space
    (0, 0, 69, 46, 58, 4, 47, 0, 6, 75, 3, 0, 11, 5, 0, 0),  # line end
    (86, 11, 0, 68, 61, 6, 1, 20, 19, 125, 5, 0, 49, 51, 81, 0),  # symbol
    (50, 0, 43, 84, 36, 0, 0, 1, 13, 29, 28, 10, 47, 66, 99, 0),  # stop
    (72, 0, 24, 38, 0, 68, 63, 50, 34, 5, 7, 25, 62, 42, 45, 0),  # accented
    (36, 3, 36, 38, 12, 96, 105, 106, 16, 0, 7, 31, 0, 42, 45, 0),  # cyrillic
    (96, 21, 11, 46, 26, 43, 23, 2, 13, 3, 4, 25, 33, 42, 45, 0),  # tab
    (35, 0, 5, 38, 21, 0, 0, 0, 13, 3, 7, 22, 100, 42, 45, 0),  # alphabet
    (108, 16, 8, 39, 64, 0, 33, 8, 39, 0, 7, 97, 38, 28, 41, 0),  # sign
    (38, 0, 54, 44, 2, 0, 30, 57, 13, 3, 7, 25, 72, 27, 102, 0),  # kana
    (29, 0, 0, 38, 0, 0, 15, 34, 13, 3, 7, 25, 40, 65, 43, 0),  # han
    (35, 0, 34, 29, 0, 0, 0, 0, 13, 3, 7, 25, 31, 42, 45, 25),  # hangul
)
"""Row: the class before; column: the class of the character, both in the order of `CLASSES`."""

EXTRA_RATES = {
    b"\xe0": 4,
    b"\xe3\x80": 47,
    b"\xef": 74,
    b"\xf0": 56,
    b"\xe2\x80": 51,
    b"\xd7": 7,
    b"\xd9": 5,
    b"\xce": 5,
    b"\xcf": 14,
    b"\xd1\x96": 100,
    b"\xeb": 38,
}
"""Beginning of a character in UTF-8 → what it costs besides: punctuation and scripts that are rarer."""
