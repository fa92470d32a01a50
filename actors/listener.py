"""The listening socket of the HTTP server, bound once and handed down to the gateway workers."""

import socket

from actors.errors import ListenFailed

LISTEN_FD = "LLAMACTOR_LISTEN_FD"
"""Names the inherited descriptor of the listening socket."""

_BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen, without SO_REUSEPORT, so that a port in use is an error.

    Raises:
        ListenFailed: the address is in use, not ours, or unknown; the text is the one that users of Ollama know.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ListenFailed(address, f"lookup {host}: no such host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenFailed(address, f"bind: {(error.strerror or str(error)).lower()}") from error
    return listener
