"""Google's accounts, simulated: key files, the endpoint that gives tokens for them, and Vertex.

`POST …/token` (RFC 7523, RFC 6749 section 6) checks what is signed with the keys; beside it are the
metadata server, and Vertex's paths, which want a token of these.
"""

import json
import re
import secrets
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from gatewayz.simulator.base64url import decode_base64url
from gatewayz.simulator.behaviours import play
from gatewayz.simulator.chat import CHAT
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import HANG_S, Actions, SendBytes, Sleep, http_response
from gatewayz.simulator.gemini import play_gemini
from gatewayz.simulator.google_embeddings import play_vertex_embeddings
from gatewayz.simulator.messages import MESSAGES, play_count_tokens
from gatewayz.simulator.recorder import Invoice, RecordedRequest
from gatewayz.simulator.routes import Behaviour, SimulatorRoute

TOKEN_LIFE_S = 3_599
SKEW_S = 60
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no password
"""What assertions are for, wherever the endpoint is asked: the audience that Google's libraries name."""
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name, no password
AUDIENCE = (
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/oidc"
)
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_ASSERTION_LIFE_S = 3_600
NOT_SHORT_LIVED = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
)
MAX_TOKENS = 10_000
CLAUDE_VERSION = "vertex-2023-10-16"


class GoogleAccounts:
    """The accounts of one simulator.

    `life_s` is how long its tokens live; `issued` counts them, `refused` holds the reasons of
    refusals.
    """

    def __init__(self) -> None:
        self.life_s = TOKEN_LIFE_S
        self.issued = 0
        self.refused: list[str] = []
        self.tokens: dict[str, float] = {}
        self._keys: dict[str, tuple[str, RSAPublicKey]] = {}
        self._refresh: dict[str, str] = {}
        self._subjects: set[str] = set()
        self.routes = (
            SimulatorRoute(
                "POST", re.compile(r"/(?P<model>token)$"), self._play_token, billed=False
            ),
            SimulatorRoute(
                "GET",
                re.compile(r"/(?P<model>computeMetadata)/v1/.+/token$"),
                self._play_metadata,
                billed=False,
            ),
            self._vertex_route(
                r"/serviceAccounts/(?P<model>[^/:]+):generateAccessToken$", self._play_impersonation
            ),
            self._vertex_route(
                r"/publishers/anthropic/models/(?P<model>count-tokens):rawPredict$",
                play_claude_count,
            ),
            self._vertex_route(
                r"/publishers/anthropic/models/(?P<model>[^/:]+):(raw|streamRaw)Predict$",
                play_claude,
            ),
            self._vertex_route(
                r"/publishers/google/models/(?P<model>[^/:]+):predict$", play_vertex_embeddings
            ),
            self._vertex_route(
                r"/locations/[^/]+/endpoints/openapi/chat/completions$", partial(play, CHAT)
            ),
            self._vertex_route(
                r"/projects/[^/]+/locations/[^/]+/publishers/google"
                r"/models/(?P<model>[^/:]+):(generate|streamGenerate)Content$",
                play_gemini,
            ),
        )

    def create_service_account(self, url: str, email: str = "robot@acme.example") -> dict[str, str]:
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

    def create_user_credentials(self, url: str) -> dict[str, str]:
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

    def create_external_account(
        self, url: str, source: dict[str, Any], subject: str
    ) -> dict[str, Any]:
        """A new file of workload identity federation: whoever brings `subject` is known.

        `source` says where the subject's token is.
        """
        self._subjects.add(subject)
        return {
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{url}/v1/token",
            "credential_source": source,
        }

    def revoke_tokens(self) -> None:
        """Every token that was issued is refused from now on."""
        self.tokens.clear()

    def _play_token(self, request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
        return _invoice(request), self._token_actions(request, scene)

    def _token_actions(self, request: RecordedRequest, scene: str) -> Actions:
        if scene == "fault-hang-before":
            yield Sleep(HANG_S)
            return
        if scene.startswith("fault-"):
            status = int(scene.removeprefix("fault-"))
            yield http_response(status, load_exchange(f"error_{status}", "gemini").content())
            return

        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        # A script may say in its own words why there is no token.
        error = self._grant_error(form, request) if scene == "token" else scene
        if error:
            self.refused.append(error)
            body = {"error": "invalid_grant", "error_description": error}
            yield http_response(400, json.dumps(body).encode())
            return
        yield self._issue_token()

    def _play_impersonation(self, request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
        """IAM's own answer: the token of a service account, for whoever has a federated one."""
        token = self._new_token()
        ends = datetime.fromtimestamp(self.tokens[token], UTC)
        body = {"accessToken": token, "expireTime": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
        return _invoice(request), iter([http_response(200, json.dumps(body).encode())])

    def _issue_token(self) -> SendBytes:
        token = self._new_token()
        body = {"access_token": token, "expires_in": self.life_s, "token_type": "Bearer"}
        return http_response(200, json.dumps(body).encode())

    def _new_token(self) -> str:
        if len(self.tokens) >= MAX_TOKENS:
            self.tokens.clear()
        self.issued += 1
        token = f"ya29.sim-{self.issued}-{secrets.token_urlsafe(24)}"
        self.tokens[token] = time.time() + self.life_s
        return token

    def _grant_error(self, form: dict[str, str], request: RecordedRequest) -> str:
        """Why this grant gets no token; empty when it gets one."""
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return "the request is no form"
        match form.get("grant_type"):
            case "refresh_token":
                secret = self._refresh.get(form.get("refresh_token", ""))
                is_known = secret is not None and secret == form.get("client_secret")
                return "" if is_known else "Bad Request"
            case grant if grant == TOKEN_EXCHANGE:
                is_known = form.get("subject_token") in self._subjects
                return "" if is_known and form.get("audience") == AUDIENCE else "Invalid subject"
            case grant if grant == JWT_BEARER:
                return self._assertion_error(form.get("assertion", ""), request)
        return "unsupported grant"

    def _assertion_error(self, assertion: str, request: RecordedRequest) -> str:
        try:
            head, body, signature = (decode_base64url(part) for part in assertion.split("."))
            header, claims = json.loads(head), json.loads(body)
        except ValueError:
            return "Invalid JWT"

        email, key = self._keys.get(header.get("kid", ""), ("", None))
        if key is None or header.get("alg") != "RS256":
            return "Invalid grant: account not found"
        try:
            key.verify(signature, assertion.rpartition(".")[0].encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return "Invalid JWT Signature."
        return _claims_error(claims, email, f"http://{request.headers.get('host')}{request.path}")

    def _play_metadata(self, request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
        if request.headers.get("metadata-flavor") != "Google":
            error = "Missing Metadata-Flavor:Google header."
            self.refused.append(error)
            return _invoice(request), iter([http_response(403, error.encode(), "text/html")])
        return _invoice(request), iter([self._issue_token()])

    def _vertex_route(self, path: str, play: Behaviour) -> SimulatorRoute:
        """A route of Vertex: only for those who bring a token that is valid."""

        def play_with_token(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self.tokens.get(token, 0.0) < time.time():
                self.refused.append("token")
                return _invoice(request), _error_401()
            return play(request, scene)

        return SimulatorRoute("POST", re.compile(path), play_with_token)


def play_claude(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """Claude on Vertex: the model is in the path, the version in the body."""
    rejection = _claude_rejection(request, names_model=False)
    if rejection is not None:
        return rejection
    return play(MESSAGES, _anthropic_request(request), scene)


def play_claude_count(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """Counting is one path for all models, so the body names the model."""
    rejection = _claude_rejection(request, names_model=True)
    if rejection is not None:
        return rejection
    return play_count_tokens(_anthropic_request(request), scene)


def _claude_rejection(
    request: RecordedRequest, *, names_model: bool
) -> tuple[Invoice, Actions] | None:
    """A version that is missing or another, or a model that is in the wrong place."""
    version = request.content.get("anthropic_version")
    if version == CLAUDE_VERSION and ("model" in request.content) == names_model:
        return None
    exchange = load_exchange("error_400_unsupported", "anthropic_messages")
    field = "anthropic_version" if version != CLAUDE_VERSION else "model"
    return _invoice(request), iter([http_response(400, exchange.render(parameter=field))])


def _anthropic_request(request: RecordedRequest) -> RecordedRequest:
    """The same request as Anthropic's own API takes it."""
    fields = request.content.items()
    content = {name: value for name, value in fields if name != "anthropic_version"}
    return replace(request, content=content)


def _invoice(request: RecordedRequest) -> Invoice:
    return Invoice(request.number, request.model, 0, 0)


def _error_401() -> Actions:
    yield http_response(401, load_exchange("error_401", "gemini").content())


def _claims_error(claims: dict[str, Any], email: str, url: str) -> str:
    now = time.time()
    issued, expires = claims.get("iat", 0), claims.get("exp", 0)
    is_current = now - SKEW_S <= issued <= now + SKEW_S
    checks = {
        "Invalid issuer": claims.get("iss") == email,
        "Invalid scope": claims.get("scope") == SCOPE,
        "Invalid JWT: wrong aud": claims.get("aud") in {url, GOOGLE_TOKEN_URL},
        NOT_SHORT_LIVED: is_current and issued < expires <= issued + MAX_ASSERTION_LIFE_S,
    }
    return next((reason for reason, holds in checks.items() if not holds), "")
