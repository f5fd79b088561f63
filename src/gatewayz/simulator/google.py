"""Google's accounts, simulated: key files, the token endpoint that checks what is signed with them, and who may call.

`POST …/token` (RFC 7523, RFC 6749 section 6), the metadata server, and Vertex's paths, which want a token of these.
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from gatewayz.simulator.chat import CHAT
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import HANG_S, Actions, Wait, whole
from gatewayz.simulator.gemini import served
from gatewayz.simulator.google_embeddings import vertex_embedded
from gatewayz.simulator.messages import MESSAGES, counted
from gatewayz.simulator.oracle import Asked, Invoice
from gatewayz.simulator.plays import played
from gatewayz.simulator.stages import Player, Stage

LIFE_S = 3_599
SKEW_S = 60
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_TOKENS = 10_000
CLAUDE_VERSION = "vertex-2023-10-16"


class Accounts:
    """The accounts of one simulator. `life_s` is how long its tokens live; `issued` and `refused` count."""

    def __init__(self) -> None:
        self.life_s = LIFE_S
        self.issued = 0
        self.refused: list[str] = []
        self.tokens: dict[str, float] = {}
        self._keys: dict[str, tuple[str, RSAPublicKey]] = {}
        self._refresh: dict[str, str] = {}
        self.stages = (
            Stage("POST", re.compile(r"/(?P<model>token)$"), self._token, billed=False),
            Stage(
                "GET",
                re.compile(r"/(?P<model>computeMetadata)/v1/.+/token$"),
                self._metadata,
                billed=False,
            ),
            self._guarded(
                r"/publishers/anthropic/models/(?P<model>count-tokens):rawPredict$", claude_counted
            ),
            self._guarded(
                r"/publishers/anthropic/models/(?P<model>[^/:]+):(raw|streamRaw)Predict$",
                claude_played,
            ),
            self._guarded(r"/publishers/google/models/(?P<model>[^/:]+):predict$", vertex_embedded),
            self._guarded(
                r"/locations/[^/]+/endpoints/openapi/chat/completions$", partial(played, CHAT)
            ),
            self._guarded(
                r"/projects/[^/]+/locations/(?P<place>[^/]+)/publishers/google/models/(?P<model>[^/:]+):"
                r"(generate|streamGenerate)Content$",
                served,
            ),
        )

    def service_account(self, url: str, email: str = "robot@acme.example") -> dict[str, str]:
        """A new key file of a service account, as the console writes it."""
        key = generate_private_key(public_exponent=65_537, key_size=2_048)
        key_id = secrets.token_hex(20)
        self._keys[key_id] = (email, key.public_key())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": key_id,
            "private_key": pem,
            "client_email": email,
            "client_id": "1234567890",
            "token_uri": f"{url}/token",
        }

    def authorized_user(self, url: str) -> dict[str, str]:
        """A new file of application-default credentials."""
        token, secret = f"1//{secrets.token_urlsafe(24)}", secrets.token_urlsafe(16)
        self._refresh[token] = secret
        return {
            "type": "authorized_user",
            "client_id": "client.apps.example",
            "client_secret": secret,
            "refresh_token": token,
            "token_uri": f"{url}/token",
        }

    def revoke(self) -> None:
        """Every token so far is refused from now on."""
        self.tokens.clear()

    def _token(self, asked: Asked, scene: str) -> tuple[Invoice, Actions]:
        return _invoice(asked), self._answer(asked, scene)

    def _answer(self, asked: Asked, scene: str) -> Actions:
        if scene == "fault-hang-before":
            yield Wait(HANG_S)
            return
        if scene.startswith("fault-"):
            status = int(scene.removeprefix("fault-"))
            yield whole(status, load_exchange(f"error_{status}", "gemini").content())
            return
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        wrong = self._wrong(form, asked) if scene == "token" else scene
        if wrong:
            self.refused.append(wrong)
            body = {"error": "invalid_grant", "error_description": wrong}
            yield whole(400, json.dumps(body).encode())
            return
        yield self._issue()

    def _issue(self) -> Any:
        if len(self.tokens) >= MAX_TOKENS:
            self.tokens.clear()
        self.issued += 1
        token = f"ya29.sim-{self.issued}-{secrets.token_urlsafe(24)}"
        self.tokens[token] = time.time() + self.life_s
        body = {"access_token": token, "expires_in": self.life_s, "token_type": "Bearer"}
        return whole(200, json.dumps(body).encode())

    def _wrong(self, form: dict[str, str], asked: Asked) -> str:
        """Why there is no token; empty when there is one."""
        if asked.headers.get("content-type") != "application/x-www-form-urlencoded":
            return "the request is no form"
        match form.get("grant_type"):
            case "refresh_token":
                known = self._refresh.get(form.get("refresh_token", ""))
                return (
                    ""
                    if known is not None and known == form.get("client_secret")
                    else "Bad Request"
                )
            case grant if grant == JWT_BEARER:
                return self._wrong_assertion(form.get("assertion", ""), asked)
        return "unsupported grant"

    def _wrong_assertion(self, assertion: str, asked: Asked) -> str:
        try:
            head, claims, signature = (_unpacked(part) for part in assertion.split("."))
            header, said = json.loads(head), json.loads(claims)
        except ValueError:
            return "Invalid JWT"
        email, key = self._keys.get(header.get("kid", ""), ("", None))
        if key is None or header.get("alg") != "RS256":
            return "Invalid grant: account not found"
        try:
            key.verify(signature, assertion.rpartition(".")[0].encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return "Invalid JWT Signature."
        return _wrong_claims(said, email, f"http://{asked.headers.get('host')}{asked.path}")

    def _metadata(self, asked: Asked, scene: str) -> tuple[Invoice, Actions]:
        if asked.headers.get("metadata-flavor") != "Google":
            self.refused.append("Missing Metadata-Flavor:Google header.")
            return _invoice(asked), iter(
                [whole(403, b"Missing Metadata-Flavor:Google header.", "text/html")]
            )
        return _invoice(asked), iter([self._issue()])

    def _guarded(self, path: str, play: Player) -> Stage:
        """A stage of Vertex: only for those who bring a token that lives."""

        def played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
            token = asked.headers.get("authorization", "").removeprefix("Bearer ")
            if self.tokens.get(token, 0.0) < time.time():
                self.refused.append("token")
                return _invoice(asked), _unauthorized()
            return play(asked, scene)

        return Stage("POST", re.compile(path), played)


def claude_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """Claude on Vertex: the model is in the path, the version in the body."""
    wrong = _wrong_claude(asked, names_model=False)
    return wrong if wrong is not None else played(MESSAGES, _as_anthropic(asked), scene)


def claude_counted(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """Counting is one path for all models, so the body names the model."""
    wrong = _wrong_claude(asked, names_model=True)
    return wrong if wrong is not None else counted(_as_anthropic(asked), scene)


def _wrong_claude(asked: Asked, *, names_model: bool) -> tuple[Invoice, Actions] | None:
    said = asked.content.get("anthropic_version")
    if said == CLAUDE_VERSION and ("model" in asked.content) == names_model:
        return None
    exchange = load_exchange("error_400_unsupported", "anthropic_messages")
    name = "anthropic_version" if said != CLAUDE_VERSION else "model"
    return _invoice(asked), iter([whole(400, exchange.filled(parameter=name))])


def _as_anthropic(asked: Asked) -> Asked:
    return replace(
        asked,
        content={
            name: value for name, value in asked.content.items() if name != "anthropic_version"
        },
    )


def _invoice(asked: Asked) -> Invoice:
    return Invoice(asked.number, asked.model, 0, 0)


def _unauthorized() -> Iterator[Any]:
    exchange = load_exchange("error_401", "gemini")
    yield whole(401, exchange.content())


def _unpacked(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _wrong_claims(said: dict[str, Any], email: str, url: str) -> str:
    now = time.time()
    issued, expires = said.get("iat", 0), said.get("exp", 0)
    checks = {
        "Invalid issuer": said.get("iss") == email,
        "Invalid scope": said.get("scope") == SCOPE,
        "Invalid JWT: wrong aud": said.get("aud") == url,
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.": (
            now - SKEW_S <= issued <= now + SKEW_S and issued < expires <= issued + 3_600
        ),
    }
    return next((why for why, holds in checks.items() if not holds), "")
