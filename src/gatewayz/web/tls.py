"""TLS on the listener: a certificate from files, which may be renewed while the gateway serves.

Renewed files are taken up by new connections within `RELOAD_S`; those that are open go on. Files that
cannot be used leave the certificate that was there, and are told once.
"""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from msgspec import Struct

from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault

CERT_SETTING, KEY_SETTING = "web.tls.cert_file", "web.tls.key_file"
RELOAD_S = 10
"""How often the files are looked at, in seconds."""
MAX_CERT_BYTES = 2**20
FileState = tuple[int, int, int]


class ListenerTlsSettings(Struct, frozen=True, kw_only=True):
    """The certificate, with its chain, and its key; without a key file the key is in the first."""

    cert_file: str = ""
    key_file: str = ""


class ListenerTls:
    """The certificate of the listener, as it is now. Faults: `bad_request` where it is no use.

    A renewal that is no use is told to `emit`.
    """

    def __init__(self, settings: ListenerTlsSettings, emit: Callable[[Fact], None]) -> None:
        self._settings = settings
        self._emit = emit
        if not settings.cert_file:
            raise Fault("bad_request", f"{KEY_SETTING} is set, and {CERT_SETTING} is not.")
        self._states = self._file_states()
        self.context = listener_context(settings)

    async def reload(self) -> None:
        """Takes up renewed files."""
        states = self._file_states()
        if states == self._states:
            return
        self._states = states
        try:
            # Tried on another one first: half of a renewal would break the one that serves.
            listener_context(self._settings)
            load_certificate(self.context, self._settings)
        except Fault as fault:
            message = f"{fault.message} The certificate that was there goes on to serve."
            self._emit(Warned(subject="TLS", message=message))

    def _file_states(self) -> tuple[FileState, ...]:
        return tuple(map(_file_state, _files(self._settings)))


def open_listener_tls(
    settings: ListenerTlsSettings, emit: Callable[[Fact], None]
) -> ListenerTls | None:
    """The listener's TLS; nothing where none is set. Faults: `bad_request`."""
    return ListenerTls(settings, emit) if settings.cert_file or settings.key_file else None


def listener_context(settings: ListenerTlsSettings) -> ssl.SSLContext:
    """TLS 1.2 and later, with this certificate. Faults: `bad_request` names setting and file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, settings)
    return context


def load_certificate(context: ssl.SSLContext, settings: ListenerTlsSettings) -> None:
    """Puts the certificate of these files into a context, for connections from now on."""
    for setting, file in zip((CERT_SETTING, KEY_SETTING), _files(settings), strict=False):
        try:
            with Path(file).open("rb"):
                pass
        except OSError as error:
            raise Fault(
                "bad_request", f"{setting}: {file} cannot be read: {error.strerror}."
            ) from None
    try:
        # Without a password of its own OpenSSL would ask for one at the terminal.
        context.load_cert_chain(
            settings.cert_file, settings.key_file or None, password=lambda: b"-"
        )
    except (ssl.SSLError, ValueError) as error:
        raise Fault("bad_request", _load_problem(settings, error)) from None


def _load_problem(settings: ListenerTlsSettings, error: Exception) -> str:
    reason = getattr(error, "reason", None) or ""
    key = f"{KEY_SETTING}: {settings.key_file}" if settings.key_file else CERT_SETTING
    if reason == "KEY_VALUES_MISMATCH":
        return f"{key}: this key is not that of the certificate in {settings.cert_file}."
    if certificate_end(settings) is None:
        return f"{CERT_SETTING}: {settings.cert_file} holds no certificate in PEM."
    return (
        f"{key or CERT_SETTING}: there is no private key in PEM that can be used without a password;"
        " write one without, readable by the gateway alone."
    )


def certificate_end(settings: ListenerTlsSettings) -> datetime | None:
    """When the certificate ends; nothing where there is none."""
    try:
        with Path(settings.cert_file).open("rb") as file:
            content = file.read(MAX_CERT_BYTES)
        return x509.load_pem_x509_certificate(content).not_valid_after_utc.astimezone(UTC)
    except (OSError, ValueError):
        return None


def _files(settings: ListenerTlsSettings) -> tuple[str, ...]:
    return tuple(filter(None, (settings.cert_file, settings.key_file)))


def _file_state(file: str) -> FileState:
    """What changes when a file is replaced or written; a link is followed, as renewals use them."""
    try:
        state = Path(file).stat()
    except OSError:
        return (0, 0, 0)
    return (state.st_ino, state.st_mtime_ns, state.st_size)
