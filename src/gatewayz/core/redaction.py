"""Redaction: what a stranger's text may not carry to anybody, taken out of it.

Three nets, since none holds alone: the secrets that are configured here, in the spellings that
texts quote them in, whole or in part; what has the shape of a key, an address or a signed link; and
pieces of the request that the text answers to, which is its client's and no log's.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from msgspec import Struct

MASK = "***"
CUT = "…"
SHAPES = re.compile(
    r"\b(?:sk|gsk|pk|rk|key|gw_live|gw_test|xai|hf|cpk|nvapi|r8|ghp|whsec)[-_][\w*\-]{6,}"
    r"|\b(?:AIza|AKIA|ASIA|ya29\.)[\w\-.]{12,}"
    r"|\beyJ[\w\-]{8,}\.[\w\-]+(?:\.[\w\-]+)?"
    r"|\b(?:Bearer|Basic)\s+\S+|\S+@\S+\.\w+|https?://\S*\?\S+|://[^/\s:@]+:[^/\s@]+@"
)
"""Keys of many companies, tokens, e-mail addresses, links with parameters, passwords in URLs."""
MIN_SECRET_CHARS = 8
"""A shorter one is no secret: local servers are given `none` or `EMPTY` as a key."""
MIN_SECRET_PIECE = 10
"""Characters in a row that a text shares with a secret and that are masked."""
MIN_CONTENT_PIECE = 16
"""Characters in a row that a text shares with a request and that are cut out."""
MIN_WHOLE_CONTENT = 8
"""A shorter text of a request is not looked for: every message has a `hello` in it."""
MAX_COMPARED_CHARS = 2**20
"""Characters of a request that are compared; of a text about a larger one only phrases are kept."""
MAX_URL_COMPARED = 4_096
"""Characters of a URL or of a file that are compared: what is quoted of it is its beginning."""
MAX_MATCHES = 1_000
"""Places that are looked at more closely; texts that have more in common are cut out whole."""
MAX_NAME_CHARS = 128
NAME = re.compile(r"[\w.:\-/=+,\[\] ]*")
"""What codes, types, parameters and ids of requests are made of."""
PHRASES = re.compile(
    r"prompt is too long(?:: \d+ tokens > \d+ maximum)?"
    r"|(?:model's )?maximum (?:context|prompt) length (?:is|of) \d+(?: tokens)?"
    r"|input length and `max_tokens` exceed context limit: \d+ \+ \d+ > \d+"
    r"|exceeds? the (?:context window|maximum (?:number of tokens|allowed size))"
    r"|context[ _]length[ _]exceeded|input token count \(?\d+\)? exceeds[^.]{0,80}",
    re.IGNORECASE,
)
"""What clients match on, and may well stand in a request about it."""
NAME_FIELDS = frozenset(
    {"dialect", "model", "models", "name", "role", "type", "id", "call_id", "format", "detail"}
    | {"preferences", "sampling", "quality", "style", "output_encoding"}
)
"""Fields of a request whose values name things; an error has to be able to say which."""
SECRET_FIELDS = ("private_key", "private_key_id", "client_secret", "refresh_token")
"""What is secret in a credential that is a JSON document."""
ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/nrt]))')


class Redactor:
    """Takes out of texts what they may not carry. It knows the secrets that it was made with.

    Example: `Redactor(["hunter2hunter2"]).redact("key hunter2hunter2")` is `key ***`.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self._forms: tuple[str, ...] = ()
        self._pieces: frozenset[str] = frozenset()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Knows these secrets too, from now on."""
        values = dict.fromkeys(part for secret in secrets for part in _secret_parts(secret))
        values |= dict.fromkeys(self._secrets)
        self._secrets = tuple(sorted(values, key=len, reverse=True))
        forms = dict.fromkeys(form for secret in self._secrets for form in spellings(secret))
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        size = MIN_SECRET_PIECE // 2
        self._pieces = frozenset(
            form[at : at + size] for form in forms for at in range(0, len(form) - size + 1, size)
        )

    def redact(self, text: str) -> str:
        """A text of ours, or one that was cleaned before, without secrets: the last net."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return SHAPES.sub(MASK, text)

    def redact_words(self, words: str, request: Any = None, secret: str = "") -> str:
        """A provider's words without secrets, and without pieces of the request they answer to.

        `secret` is one that only this call has, such as an access token.
        """
        # Links and keys first, whole: a piece cut out of one would hide the rest of its shape.
        words = self.redact(words)
        forms = [form for part in _secret_parts(secret) for form in spellings(part)]
        size = MIN_SECRET_PIECE // 2
        if any(words[at : at + size] in self._pieces for at in range(len(words) - size + 1)):
            forms += self._forms
        for form in forms:
            words = _replace_spans(words, _shared_spans(words, form, MIN_SECRET_PIECE), MASK)
        return words if request is None else cut_content(words, tuple(texts_of(request)))

    def redact_name(self, name: str) -> str:
        """A code, a type, a parameter, an id; empty when it is none, or holds a secret."""
        if not name or len(name) > MAX_NAME_CHARS or not NAME.fullmatch(name):
            return ""
        if any(secret in name for secret in self._secrets):
            return ""
        return "" if SHAPES.search(name) else name


def password_from_url(url: str) -> str:
    """The password in a URL (of a database, of an index), as it stands there; empty without one."""
    userinfo, at, _ = url.partition("://")[2].rpartition("@")
    return userinfo.partition(":")[2] if at else ""


def spellings(secret: str) -> Iterator[str]:
    """A secret as texts quote it: as it is, escaped, and in the usual encodings of bytes."""
    plain = secret.encode("utf-8", "surrogateescape")
    yield secret
    yield from {
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        plain.hex(),
        plain.hex().upper(),
        secret[::-1],
    } - {secret}
    for shift in range(3):
        # Whatever stands before it, one of three alignments is in the text; its ends are not ours.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * shift + plain).decode()[4:].rstrip("=")[:-1]


def _secret_parts(secret: str) -> tuple[str, ...]:
    """What of a credential is secret: all of it, or the secret fields of a document."""
    if secret.lstrip().startswith("{"):
        try:
            fields = json.loads(secret)
        except (ValueError, RecursionError):
            fields = {}
        values = [str(fields[name]) for name in SECRET_FIELDS if fields.get(name)]
        # A private key is quoted by its lines, if at all.
        return tuple(line for value in values for line in value.split("\n") if _is_secret(line))
    return (secret.strip(),) if _is_secret(secret.strip()) else ()


def _is_secret(text: str) -> bool:
    is_address = text.startswith(("http://", "https://")) and "@" not in text and "?" not in text
    is_marker = text.startswith(("-----", "metadata"))
    return len(text) >= MIN_SECRET_CHARS and not is_address and not is_marker


def texts_of(value: Any, field: str = "") -> Iterator[str]:
    """The texts in a request that are its client's own words; names of things are not."""
    if isinstance(value, str):
        if field not in NAME_FIELDS and len(value) >= MIN_WHOLE_CONTENT:
            is_file = value.startswith(("data:", "http://", "https://")) or field == "content"
            yield value[:MAX_URL_COMPARED] if is_file else value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from texts_of(getattr(value, name), name)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from texts_of(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_of(inner, field)


def cut_content(words: str, texts: Iterable[str]) -> str:
    """The words without what they share with the texts."""
    texts = tuple(texts)
    if sum(map(len, texts)) > MAX_COMPARED_CHARS:
        return "; ".join(match[0] for match in PHRASES.finditer(words))
    plain = ESCAPE.sub(_unescape, words)
    if plain != words and any(_content_spans(plain, text) for text in texts):
        # Spelt in another way, so that nobody can say where the piece stands in the words.
        words = plain
    spans = [span for text in texts for span in _content_spans(words, text)]
    kept = [match.span() for match in PHRASES.finditer(words)]
    for keep in kept:
        spans = [piece for span in spans for piece in _subtract(span, keep)]
    return _replace_spans(words, spans, CUT)


def _subtract(span: tuple[int, int], keep: tuple[int, int]) -> list[tuple[int, int]]:
    """What of a span is outside of `keep`; a scrap of a few characters says nothing."""
    if keep[1] <= span[0] or span[1] <= keep[0]:
        return [span]
    rest = [(span[0], keep[0]), (keep[1], span[1])]
    return [(start, end) for start, end in rest if end - start >= MIN_WHOLE_CONTENT]


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(match[2], match[2])


def _content_spans(words: str, text: str) -> list[tuple[int, int]]:
    if len(text) >= MIN_CONTENT_PIECE:
        return _shared_spans(words, text, MIN_CONTENT_PIECE)
    at = words.find(text)
    return [] if at < 0 else [(at, at + len(text))]


def _shared_spans(words: str, text: str, least: int) -> list[tuple[int, int]]:
    """Where the words share at least this many characters in a row with the text.

    Linear in the text: such a run holds one of the text's pieces of half its length, which stand
    side by side; the words, which are short, know all of theirs.
    """
    size = least // 2
    if len(text) < size or len(words) < size:
        return []
    places: dict[str, list[int]] = {}
    for at in range(len(words) - size + 1):
        places.setdefault(words[at : at + size], []).append(at)
    spans: list[tuple[int, int]] = []
    matches = 0
    for at in range(0, len(text) - size + 1, size):
        for place in places.get(text[at : at + size], ()):
            matches += 1
            if matches > MAX_MATCHES:
                return [(0, len(words))]
            before = after = 0
            while before < min(at, place) and words[place - before - 1] == text[at - before - 1]:
                before += 1
            longest = min(len(text) - at, len(words) - place)
            while size + after < longest and (
                words[place + size + after] == text[at + size + after]
            ):
                after += 1
            if before + size + after >= min(least, len(text)):
                spans.append((place - before, place + size + after))
    return spans


def _replace_spans(words: str, spans: list[tuple[int, int]], by: str) -> str:
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if stop <= end:
            continue
        if start > end or not pieces:
            pieces += [words[end:start], by]
        end = stop
    return "".join([*pieces, words[end:]])
