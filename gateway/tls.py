"""TLS of the listening socket: HTTP/2 where the client speaks it, else HTTP/1.1."""

import ssl
from pathlib import Path

from actors.errors import InvalidRequest


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Make the server's context from its certificate chain and key; None where neither is set.

    Raises:
        InvalidRequest: only one is set, or they cannot be read or do not belong together.
    """
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise InvalidRequest("LLAMACTOR_TLS_CERT and LLAMACTOR_TLS_KEY must be set together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one, too
        reason = error.strerror or str(error)
        raise InvalidRequest(f"LLAMACTOR_TLS_CERT {cert} and LLAMACTOR_TLS_KEY {key}: {reason}") from error
    return context
