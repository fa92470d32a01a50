"""A registry's demand for a token, `WWW-Authenticate: Bearer realm="…",service="…",scope="…"`, and its fulfilment.

The token is fetched from the realm with a signature of our key: over method, URL and the hash of an empty body. Only
the registry's own host may be the realm, or it could have us sign for another one.
"""

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, urlencode

import msgspec

from actors.errors import RegistryMisbehaved, Unauthorized
from registry.remote.channel import Channel, origin_of, parse_url, shown

if TYPE_CHECKING:
    from registry.remote.identity import Identity

_PARAMETER = re.compile(r'([a-z]{1,20})="([^"]{0,2000})"')
_LONGEST_REPLY_BYTES = 64 << 10
_TOKEN = re.compile(r"[!-~]{1,16384}")
_OK = 200
_UNAUTHORIZED = 401
_NOTHING_HASHED = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()


class _TokenReply(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a 401 asks for."""

    realm: SplitResult
    service: str
    scopes: tuple[str, ...]

    def url(self, *, time_s: int, nonce: str) -> SplitResult:
        """Give the URL of the token, with all that is signed in its query."""
        query = [*parse_qsl(self.realm.query), ("service", self.service)]
        query += [("scope", scope) for scope in self.scopes]
        query += [("ts", str(time_s)), ("nonce", nonce)]
        return self.realm._replace(query=urlencode(sorted(query, key=lambda pair: pair[0])), fragment="")


def parse_challenge(header: str, *, registry: SplitResult) -> Challenge:
    """Read a `WWW-Authenticate` header.

    Raises:
        Unauthorized: it asks for something else than a token.
        RegistryMisbehaved: the realm is no URL, is another host's, or less protected than the registry.
    """
    if not header.lower().startswith("bearer "):
        raise Unauthorized("unauthorized: the registry asks for something else than a token")
    values = dict(_PARAMETER.findall(header))
    realm = parse_url(values.get("realm", ""))
    if origin_of(realm)[1:] != origin_of(registry)[1:] and realm.netloc.lower() != registry.netloc.lower():
        raise RegistryMisbehaved(f'realm host "{realm.netloc}" does not match original host "{registry.netloc}"')
    if registry.scheme == "https" and realm.scheme != "https":
        raise RegistryMisbehaved("the registry asks for its token over plain HTTP")
    return Challenge(realm, values.get("service", ""), tuple(values.get("scope", "").split()))


def fetch_token(channel: Channel, challenge: Challenge, key: "Identity") -> str:
    """Fetch the token.

    Raises:
        Unauthorized: the registry does not know our key, or refuses it.
        RegistryMisbehaved: the answer holds no token.
        RegistryUnreachable: it does not answer.
    """
    nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
    url = challenge.url(time_s=int(time.time()), nonce=nonce)
    signature = key.signature(signed_text("GET", url.geturl()))
    reply = channel.request("GET", url, {"Authorization": f"{key.public_key}:{signature}"})
    if reply.status == _UNAUTHORIZED:
        raise Unauthorized(
            f"unauthorized: {shown(challenge.realm)} does not know the key ssh-ed25519 {key.public_key}: add it there"
        )
    if reply.status != _OK:
        raise Unauthorized(f"unauthorized: {shown(challenge.realm)} answers {reply.status}: {reply.error_text()}")
    try:
        found = msgspec.json.decode(reply.read(_LONGEST_REPLY_BYTES), type=_TokenReply)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegistryMisbehaved(f"{shown(challenge.realm)} answers without a token") from error
    token = found.token or found.access_token
    if not _TOKEN.fullmatch(token):
        raise RegistryMisbehaved(f"{shown(challenge.realm)} answers without a token")
    return token


def signed_text(method: str, url: str) -> bytes:
    """Give what is signed for a request without a body."""
    return f"{method},{url},{_NOTHING_HASHED}".encode()
