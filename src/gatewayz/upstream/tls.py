"""What TLS towards upstreams trusts: the system's authorities, and those of the operator's file.

`tls.ca_file` is added to the system's authorities. `SSL_CERT_FILE` and `SSL_CERT_DIR` take their
place, as they do for every program that uses OpenSSL; both can be set.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path

from gatewayz.core.faults import Fault

CA_FILE_SETTING = "tls.ca_file"
FILE_VARIABLE, FOLDER_VARIABLE = "SSL_CERT_FILE", "SSL_CERT_DIR"
PEM_MARK = b"-----BEGIN CERTIFICATE-----"
MAX_CA_BYTES = 16 * 2**20
"""Of a file of authorities; the public ones together have about 250 KiB."""


def tls_context(ca_file: str = "", environment: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """Verification against the system's authorities or those of the variables, and `ca_file`'s.

    Faults: `bad_request` names the setting and the file that cannot be used.
    """
    variables = environment if environment is not None else {}
    file = variables.get(FILE_VARIABLE, "").strip()
    if file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_file(context, file, FILE_VARIABLE)
        folder = variables.get(FOLDER_VARIABLE, "").strip()
        if folder:
            context.load_verify_locations(capath=folder)
    else:
        context = ssl.create_default_context()
    if ca_file:
        _load_file(context, ca_file, CA_FILE_SETTING)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _load_file(context: ssl.SSLContext, file: str, setting: str) -> None:
    try:
        with Path(file).expanduser().open("rb") as opened:
            content = opened.read(MAX_CA_BYTES + 1)
    except OSError as error:
        raise Fault("bad_request", f"{setting}: {file} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_CA_BYTES:
        raise Fault("bad_request", f"{setting}: {file} is larger than {MAX_CA_BYTES} bytes.")
    try:
        # Text outside the blocks may be in any encoding; certificates are ASCII.
        context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
        is_usable = PEM_MARK in content
    except (ssl.SSLError, ValueError):
        is_usable = False
    if not is_usable:
        raise Fault(
            "bad_request",
            f"{setting}: {file} holds no certificates in PEM"
            f" ({PEM_MARK.decode()} …); convert it, for example by"
            " `openssl x509 -inform der -in FILE -out FILE.pem`.",
        )
