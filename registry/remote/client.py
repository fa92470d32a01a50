"""Requests to one registry: with our token when it asks for one, following redirects, never taking credentials along.

A redirect keeps method and `Range`; the token goes to the registry's own origin alone. One from https to http is
refused, and so is one to an address that is not public (`registry/remote/address.py`).
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin

from actors.errors import RegistryMisbehaved, Unauthorized
from registry.names import ModelName
from registry.remote.abort import Abort
from registry.remote.address import Reach
from registry.remote.challenge import fetch_token, parse_challenge
from registry.remote.channel import Body, Channel, Reply, origin_of, parse_url, shown

if TYPE_CHECKING:
    from registry.remote.identity import Identity

_MAX_REDIRECTS = 10
_REDIRECTS = {301, 302, 303, 307, 308}
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often a registry is waited for."""

    deadline_s: float = 30.0
    """For a connection, and for the next byte."""
    n_attempts: int = 6
    """In a row, without a single new byte."""
    first_pause_s: float = 1.0
    """Before the second attempt; doubled for each further one."""
    longest_pause_s: float = 60.0
    """Also of what a registry asks for by `Retry-After`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and how patiently."""

    identity: Path | None = None
    """Our key; None when there is no place for one."""
    user_agent: str = "ollama/0.33.0 (amd64 linux) llamactor"
    patience: Patience = Patience()

    def sign_in(self) -> "Identity":
        """Give our key.

        Raises:
            Unauthorized: there is none, and no place for one.
        """
        from registry.remote.identity import load_identity  # noqa: PLC0415 - costs 20 MB that only private models need

        if self.identity is None:
            raise Unauthorized("unauthorized: this user has no home folder for a key: set LLAMACTOR_IDENTITY")
        return load_identity(self.identity)


class RegistryClient:
    """One registry on behalf of one transfer. Thread-safe; each thread brings a channel of its own."""

    def __init__(self, base: SplitResult, caller: Caller, abort: Abort) -> None:
        """Take the registry's root URL."""
        self.base = base
        self.caller = caller
        self.abort = abort
        self._reach = Reach(base.hostname or "")
        self._lock = threading.Lock()
        self._token = ""

    def channel(self) -> Channel:
        """Open a channel for the calling thread."""
        return Channel(self._reach, self.abort, deadline_s=self.caller.patience.deadline_s)

    def url(self, path: str) -> SplitResult:
        """Give the URL of an absolute path at the registry."""
        return self.base._replace(path=path)

    def get(self, channel: Channel, url: SplitResult, headers: Mapping[str, str], *, method: str = "GET") -> Reply:
        """Ask, and follow redirects; `reply.url` tells where they led.

        Raises:
            RegistryUnreachable, RegistryMisbehaved, AddressForbidden, Unauthorized: as told there.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            reply = self.ask(channel, method, url, headers)
            location = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not location:
                return reply
            url = self.redirected(url, location)
        raise RegistryMisbehaved(f"{shown(url)} redirects more than {_MAX_REDIRECTS} times")

    def ask(
        self,
        channel: Channel,
        method: str,
        url: SplitResult,
        headers: Mapping[str, str],
        body: Body | None = None,
    ) -> Reply:
        """Send one request; a demand for a token is fulfilled once.

        Raises:
            Unauthorized: no token is to be had, or it does not suffice.
            RegistryUnreachable, RegistryMisbehaved, AddressForbidden: as told there.
        """
        is_ours = origin_of(url) == origin_of(self.base)
        token = self._token if is_ours else ""
        reply = channel.request(method, url, self._headers(headers, token), body)
        if reply.status != _UNAUTHORIZED or not is_ours:
            return reply
        demand = reply.headers.get("WWW-Authenticate", "")
        if not demand:
            raise Unauthorized("unauthorized: access denied")
        self._renew(channel, demand, token)
        reply = channel.request(method, url, self._headers(headers, self._token), body)
        if reply.status == _UNAUTHORIZED:
            raise Unauthorized("unauthorized: access denied")
        return reply

    def redirected(self, url: SplitResult, location: str) -> SplitResult:
        """Give the URL to which an answer leads.

        Raises:
            RegistryMisbehaved: it is none, or gives up encryption.
        """
        try:
            joined = urljoin(url.geturl(), location)
        except ValueError as error:
            raise RegistryMisbehaved(f"{location[:200]!r} is no http or https URL") from error
        target = parse_url(joined)._replace(fragment="")
        if url.scheme == "https" and target.scheme != "https":
            raise RegistryMisbehaved(f"{shown(url)} redirects to plain HTTP")
        return target

    def _headers(self, headers: Mapping[str, str], token: str) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        return {"User-Agent": self.caller.user_agent, **headers, **authorization}

    def _renew(self, channel: Channel, demand: str, used: str) -> None:
        with self._lock:  # of several threads that are refused at once, one fetches the token for all
            if self._token == used:
                challenge = parse_challenge(demand, registry=self.base)
                self._token = fetch_token(channel, challenge, self.caller.sign_in())


def registry_url(name: ModelName, *, insecure: bool) -> SplitResult:
    """Give the root URL of the registry that a name names.

    Raises:
        RegistryMisbehaved: the host's port is none.
    """
    return parse_url(f"{'http' if insecure else 'https'}://{name.host}")
