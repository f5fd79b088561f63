"""Whom we can call: a provider is a row, an oddity is a quirk, a key is a credential."""

from typing import Any, Literal

from msgspec import Struct, field

from gatewayz.core.secrets import Secret

Auth = Literal[
    "bearer", "optional_bearer", "api_key", "x_api_key", "x_goog_api_key", "google", "key", "none"
]
TOKEN_AUTH_FORMS: frozenset[Auth] = frozenset({"google"})
"""Forms in which the credential is no key itself: a token is fetched with it."""
ErrorClass = Literal[
    "auth",
    "permission",
    "no_credits",
    "rate_limited",
    "overloaded",
    "context_length",
    "content_filter",
    "model_not_found",
    "bad_request",
    "timeout",
    "server",
    "cancelled",
]


MINIMAX_HISTORY = {"(?i)minimax-?m": "think_tags"}
MISTRAL_IDS = {r"(?i)(^|[/_-])(mi[sx]tral|ministral|codestral|devstral|magistral|pixtral)": 9}
"""Models whose templates are so, whoever serves them."""


class Quirks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Named oddities of a provider; a row states only those it has.

    Keys of `…_by_model` are regular expressions, searched in the native id; the first match holds.

    Example: `Quirks(max_tokens_field="max_completion_tokens", drop=("logit_bias",))`
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "by_model"] = "max_tokens"
    """Name of the output limit; `by_model`: reasoning models know only `max_completion_tokens`."""
    limit_by_model: dict[str, Literal["without_thinking"]] = {}
    """What the output limit counts, where that is not every token that is billed."""
    least_thinking_by_model: dict[str, int] = {}
    """Tokens that thinking takes at the least; a limit must leave room for an answer beside."""
    shown_by_model: dict[str, Literal["always", "unless_thinking"]] = {}
    """Models whose streams deliver every token that is billed: always, thinking included, or where
    no thinking is asked for. Others may think unseen, or show a summary of it."""
    always_send_limit: bool = False
    """The provider's own default limit is tiny or reserves the whole context."""
    developer_role: Literal["keep", "system"] = "system"
    drop: tuple[str, ...] = ()
    drop_by_model: dict[str, tuple[str, ...]] = {}
    drop_when_reasoning: tuple[str, ...] = ()
    allow_only: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    extra_body: dict[str, Any] = {}
    extra_body_by_model: dict[str, dict[str, Any]] = {}
    extra_body_with_streamed_tools: dict[str, Any] = {}
    drop_message_fields: tuple[str, ...] = ()
    drop_inside: tuple[str, ...] = ()
    """Fields that are refused inside messages, their parts and tools."""
    flatten_content: bool = False
    """Content must be text; a list of text parts is refused."""
    inline_images_only: bool = False
    """Images by web address are not fetched."""
    tool_choice_required: bool = True
    """`required` and named tools are understood; otherwise `auto` is sent."""
    required_word: str = "required"
    json_mode: Literal["json_schema", "json_object", "json_schema_only"] = "json_schema"
    reasoning_send: Literal[
        "none",
        "reasoning_effort",
        "reasoning_effort_none_high",
        "reasoning_object",
        "thinking_type",
        "enable_thinking",
        "template_kwargs",
        "together",
    ] = "none"
    effort_by_model: dict[str, dict[str, str]] = {}
    efforts: tuple[str, ...] = ("none", "low", "medium", "high")
    """Words that `reasoning_effort` takes; of another one the nearest is sent."""
    efforts_by_model: dict[str, tuple[str, ...]] = {}
    reasoning_history: str = ""
    """Field in which earlier thinking is sent back, `think_tags` for the text between `<think>`
    tags; empty: it is left out."""
    reasoning_history_by_model: dict[str, str] = field(
        default_factory=lambda: dict(MINIMAX_HISTORY)
    )
    """MiniMax-M2, tool calling guide: "thinking content must be preserved completely", wherever it
    is served; its template reads the tags."""
    thoughts_required: str = ""
    """Regular expression of models that refuse a call of a tool in the history without its thought,
    unless thinking is off."""
    tool_id_length_by_model: dict[str, int] = field(default_factory=lambda: dict(MISTRAL_IDS))
    """Letters and digits that an id of a tool call has: Mistral's templates refuse others ("must be
    a-z, A-Z, 0-9, with a length of 9"), wherever they are served."""
    stream_usage: Literal["include_usage", "always"] = "include_usage"
    """`always`: usage comes unasked, and `stream_options` may be refused."""
    think: Literal["", "tags", "open"] = ""
    stops: dict[str, str] = {}
    reasoning_outside: bool = False
    """`completion_tokens` does not contain the reasoning tokens."""
    error_path: tuple[str, ...] = ()
    """Where an answer of status 200 carries an error code."""
    model_prefix: str = ""
    """Put before ids that have no slash."""
    model_prefix_strip: str = ""
    temperature_range: tuple[float, float] | None = None
    cancel_stops_billing: bool = False
    """A request that is broken off costs no more; otherwise it is read to its end for its usage."""
    image_size: Literal["size", "width_height", "aspect_ratio"] = "size"
    """How pixels are sent: `size` as text, `width` and `height` as numbers, or their proportion."""
    image_bytes_word: str = "b64_json"
    image_bytes_only: bool = False
    """Images come as bytes only, and must be requested so."""
    image_streams: str = ""
    """Regular expression of models that stream images."""
    image_drop: tuple[str, ...] = ()
    image_drop_by_model: dict[str, tuple[str, ...]] = {}
    image_quality_by_model: dict[str, dict[str, str]] = {}
    embedding_base64: bool = False
    """Vectors may be requested as base64; otherwise no form is sent, and floats come."""
    queue_url: str = ""
    """Where requests wait in a queue until they are done."""
    direct_models: str = ""
    """Regular expression of models that are asked directly although there is a queue."""
    cache_marks: str | None = None
    """Regular expression of models that cache what `cache_control` marks; unset: what its dialect
    says."""
    field_costs: dict[str, Literal["free", "requests", "searches"]] = {}
    """Costly field, or `tools.` and a type → `free`, or the bucket that the provider's reports, or
    each request, count it in (`dialects/kit/costly_fields.py`)."""


class ErrorRule(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"kind": "class"}
):
    """What a refusal means; every condition that is set must hold.

    `code` and `text` are regular expressions.
    """

    kind: ErrorClass
    status: tuple[int, ...] = ()
    code: str = ""
    text: str = ""


class UpstreamPath(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked below the base URL: for a whole answer, for a stream, and to count tokens.

    `{path}` is the dialect's own path. Where the path has `{model}`, the body does not name it.
    """

    path: str
    stream: str = ""
    count: str = ""


class AccountAuth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider is reached without a key: by an account, in one of the variables `env`."""

    auth: Auth
    env: tuple[str, ...]
    base_url: str
    variables: dict[str, tuple[str, ...]] = {}


class Locations(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a provider's API may be asked, in order: the operator's locations, then `then`.

    The next one is asked when one answers with one of `statuses`. The base URL has `{location}`,
    and `{host}` that `hosts` names for it; `*` stands for every other location.
    """

    env: tuple[str, ...]
    otherwise: str
    then: tuple[str, ...] = ()
    hosts: dict[str, str] = {}
    statuses: tuple[int, ...] = ()


class ProviderRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider as it stands in providers.toml.

    `endpoint_env` are variables that name a server, as other programs read them, with the path of
    its API. `{names}` in `base_url` are `variables`, looked up in the environment. `more_dialects` serve
    what `dialect` does not (images, embeddings); `dialect_by_model` has regular expressions of
    upstream ids that go before both. `path_by_model` has patterns likewise, and their paths.

    Example: `ProviderRow(name="Groq", dialect="openai_chat",
    base_url="https://api.groq.com/openai/v1", key_env=("GROQ_API_KEY",))`
    """

    name: str
    dialect: str
    more_dialects: tuple[str, ...] = ()
    dialect_by_model: dict[str, str] = {}
    path_by_model: dict[str, UpstreamPath] = {}
    base_url: str
    key_env: tuple[str, ...] = ()
    base_url_env: tuple[str, ...] = ()
    endpoint_env: dict[str, str] = {}
    variables: dict[str, tuple[str, ...]] = {}
    header_env: dict[str, str] = {}
    auth: Auth = "bearer"
    account: AccountAuth | None = None
    locations: Locations | None = None
    local: bool = False
    built_in: bool = False
    free: bool = False
    verified: bool = True
    checked_on: str = ""
    """ISO date on which the row's facts were last held against their source; empty for our own."""
    ends_on: str = ""
    """ISO date after which the provider says that it does not answer in this way any more."""
    ends_source: str = ""
    quirks: Quirks = Quirks()
    errors: tuple[ErrorRule, ...] = ()


class Credential(Struct, frozen=True, kw_only=True):
    """A key with its weight among a provider's keys; `id` names it in logs, never the key itself.

    Example: `Credential(id="Groq#1", key=Secret("gsk_…"), weight=2)`
    """

    id: str
    key: Secret
    weight: int = 1


class CredentialSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key in the operator's settings; an empty one is not set."""

    key: str
    weight: int = 1


class ProviderSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator sets of a provider; `dialect` and `base_url` make a new one."""

    enabled: bool = True
    name: str = ""
    dialect: str = ""
    more_dialects: tuple[str, ...] | None = None
    dialect_by_model: dict[str, str] | None = None
    base_url: str = ""
    key: str = ""
    credentials: tuple[CredentialSettings, ...] = ()
    auth: Auth | None = None
    locations: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    proxy: str = ""
    priority: int = 100
    markup_bp: int | None = None
    free: bool | None = None
    quirks: dict[str, Any] = {}


KeysFrom = Literal["", "settings", "store", "environment"]
"""Where a provider's keys come from: the first of these that has one. Empty: it has none."""


class ProviderChange(Struct, frozen=True, kw_only=True):
    """What operators have set of a provider since: its keys, decrypted, and why it is off.

    `unreadable` counts keys that were encrypted under another secret.
    Example: `ProviderChange(credentials=(Credential(id="groq#4XK2P1", key=Secret("gsk_…")),))`
    """

    credentials: tuple[Credential, ...] = ()
    unreadable: int = 0
    off: str = ""


class Provider(Struct, frozen=True, kw_only=True):
    """A company's API, ready to be called, or with the reason why not in `off`.

    A lower `priority` comes first. `own`: the operator made it, and locks on model families do not
    exclude it.

    Example: `Provider(id="groq", name="Groq", dialect="openai_chat", base_url="https://…/v1")`
    """

    id: str
    name: str
    dialect: str
    base_url: str
    more_dialects: tuple[str, ...] = ()
    dialect_by_model: dict[str, str] = {}
    path_by_model: dict[str, UpstreamPath] = {}
    fallback_base_urls: tuple[str, ...] = ()
    """Base URLs that are asked in turn when the one before answers with a fallback status."""
    fallback_statuses: tuple[int, ...] = ()
    auth: Auth = "bearer"
    credentials: tuple[Credential, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    proxy: str = ""
    """The URL of the proxy that it is asked through, or `direct`; empty: what the environment says."""
    priority: int = 100
    markup_bp: int | None = None
    free: bool = False
    local: bool = False
    built_in: bool = False
    own: bool = False
    verified: bool = True
    checked_on: str = ""
    ends_on: str = ""
    ends_source: str = ""
    quirks: Quirks = Quirks()
    errors: tuple[ErrorRule, ...] = ()
    key_env: tuple[str, ...] = ()
    keys_from: KeysFrom = ""
    key_source: str = ""
    """Where the keys come from, in words: a setting's path, a variable's name, or the store."""
    disabled_in_settings: bool = False
    unsendable: str = ""
    """What of its keys and headers no request can carry; such keys are not among its credentials."""
    off: str = ""
