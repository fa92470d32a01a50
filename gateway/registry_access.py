"""Who may read and write our store through `/v2`.

Reading needs no key, but is off unless the server listens on a loopback address or the operator has turned it on.
Writing needs a key that the operator has listed: a client fetches a token with a signature of its key, as Ollama does
at its registries, and shows it. Tokens are signed by the server's own key, so every worker knows them and none keeps
them; they last ten minutes, for one repository, and end at once when their key is taken off the list.
"""

import base64
import binascii
import re
import time
from pathlib import Path

import msgspec

from actors.errors import Unauthorized
from actors.settings import Settings
from gateway.origins import is_loopback
from registry.remote.challenge import signed_text
from registry.remote.identity import Identity, load_identity, verifies

_TOKEN_S = 600
_CLOCK_SKEW_S = 300
_LONGEST_LIST_BYTES = 1 << 20
_LONGEST_HEADER = 4096
_SIGNED_FOR = b"llamactor registry token "
_SCOPE = re.compile(r"repository:([^:]{1,200}):")


class _Token(msgspec.Struct, frozen=True):
    expires_s: int
    key: str
    repository: str


class RegistryAccess:
    """The rules of one server. The checks read small files, so call them in a worker thread."""

    def __init__(self, settings: Settings) -> None:
        self.is_on = is_loopback(settings.host) if settings.registry is None else settings.registry
        self._identity = settings.identity
        self._keys = settings.registry_keys

    def token(self, authorization: str, url: str, *, scope: str, time_s: str) -> str:
        """Give a token for a signed request.

        Args:
            authorization: `<public key>:<signature>`.
            url: the whole URL that was signed.
            scope: the first scope that is asked for.
            time_s: when it was signed, in seconds since the epoch.

        Raises:
            Unauthorized: the signature is wrong or old, or the key is not listed.
        """
        key, _, signature = authorization[:_LONGEST_HEADER].partition(":")
        is_fresh = time_s.isdecimal() and len(time_s) < 12 and abs(int(time_s) - time.time()) < _CLOCK_SKEW_S  # noqa: PLR2004
        if not is_fresh:
            raise Unauthorized("the request was signed at another time: set the clocks of both machines")
        if not key or not verifies(key, signature, signed_text("GET", url)):
            raise Unauthorized("the signature does not fit the request")
        if key not in self._listed():
            raise Unauthorized(f"the key ssh-ed25519 {key} may not write here: add that line to {self._keys}")
        found = _SCOPE.match(scope)
        token = _Token(int(time.time()) + _TOKEN_S, key, found[1] if found else "")
        payload = base64.urlsafe_b64encode(msgspec.json.encode(token))
        return f"{payload.decode()}.{self._sign(payload)}"

    def check_write(self, authorization: str, repository: str) -> None:
        """Check the token of a request that writes.

        Raises:
            Unauthorized: there is none, or it does not suffice.
        """
        token = authorization[:_LONGEST_HEADER].removeprefix("Bearer ")
        payload, _, signature = token.partition(".")
        try:
            is_ours = bool(payload) and self._verify(payload.encode(), signature)
            shown = msgspec.json.decode(base64.urlsafe_b64decode(payload), type=_Token) if is_ours else None
        except (msgspec.MsgspecError, binascii.Error, ValueError):
            shown = None
        is_good = shown is not None and shown.repository == repository and shown.expires_s > time.time()
        if shown is None or not is_good or shown.key not in self._listed():
            raise Unauthorized("writing needs a key")

    def _sign(self, payload: bytes) -> str:
        signature = self._key_pair().signature(_SIGNED_FOR + payload)
        return base64.urlsafe_b64encode(base64.b64decode(signature)).decode()

    def _verify(self, payload: bytes, signature: str) -> bool:
        plain = base64.b64encode(base64.urlsafe_b64decode(signature)).decode()
        return verifies(self._key_pair().public_key, plain, _SIGNED_FOR + payload)

    def _key_pair(self) -> Identity:
        if self._identity is None:
            raise Unauthorized("this server has no key of its own: set LLAMACTOR_IDENTITY")
        return load_identity(self._identity)

    def _listed(self) -> set[str]:
        return listed_keys(self._keys) if self._keys else set()


def listed_keys(path: Path) -> set[str]:
    """Read the ed25519 keys of a file like `authorized_keys`; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_LIST_BYTES).decode(errors="replace")
    except OSError:
        return set()
    found = set()
    for line in text.splitlines():
        words = line.split()
        if not line.lstrip().startswith("#") and "ssh-ed25519" in words[:-1]:
            found.add(words[words.index("ssh-ed25519") + 1])
    return found
