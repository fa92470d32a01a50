"""Tokens, redirects, proxies and authorities, before servers that answer by script."""

import datetime as dt
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.errors import AddressForbidden, InvalidRequest, RegistryMisbehaved, RegistryUnreachable, Unauthorized
from registry.remote import channel as channel_module
from registry.remote.abort import Abort, Aborted
from registry.remote.challenge import parse_challenge, signed_text
from registry.remote.channel import parse_url
from registry.remote.client import Caller, Patience, RegistryClient
from registry.remote.identity import load_identity, verifies
from tests.support.wild_registry import Answer, Asked, WildRegistry, wild_registry

HASTE = Patience(deadline_s=1.0, n_attempts=2, first_pause_s=0.0)


@pytest.fixture
def remote() -> Iterator[WildRegistry]:
    """A server that answers by script."""
    with wild_registry() as registry:
        yield registry


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    """Where our key is, or will be."""
    return tmp_path / "keys" / "id_ed25519"


def _get(base: str, key_path: Path | None, *, path: str = "/x", abort: Abort | None = None) -> tuple[int, bytes]:
    client = RegistryClient(parse_url(base), Caller(identity=key_path, patience=HASTE), abort or Abort())
    with client.channel() as channel:
        reply = client.get(channel, client.url(path), {})
        return reply.status, reply.read(1 << 20)


def _demanding(remote: WildRegistry, realm: str = "") -> Callable[[Asked, Answer], Answer]:
    realm = realm or f"http://{remote.host}/token"

    def answer(asked: Asked, _answer: Answer) -> Answer:
        if asked.path.startswith("/token"):
            return Answer(200, {}, b'{"token":"good"}')
        if asked.headers.get("authorization") == "Bearer good":
            return Answer(200, {}, b"secret")
        demand = f'Bearer realm="{realm}",service="{remote.host}",scope="repository:ns/m:pull other:x:y"'
        return Answer(401, {"WWW-Authenticate": demand}, b"no")

    return answer


def test_demand_for_a_token_is_fulfilled_with_a_signature(remote: WildRegistry, key_path: Path) -> None:
    """The key is made; the signature covers the URL with time, nonce and every scope."""
    remote.misbehave = _demanding(remote)
    assert _get(f"http://{remote.host}", key_path) == (200, b"secret")
    (asked,) = [each for each in remote.requests if each.path.startswith("/token")]
    query = parse_qs(urlsplit(asked.path).query)
    assert query["scope"] == ["repository:ns/m:pull", "other:x:y"]
    assert set(query) == {"nonce", "scope", "service", "ts"}
    key, _, signature = asked.headers["authorization"].partition(":")
    assert key == key_path.with_name("id_ed25519.pub").read_text().split()[1]
    assert verifies(key, signature, signed_text("GET", f"http://{remote.host}{asked.path}"))
    assert key_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("realm", ["http://evil.example/token", "http://127.0.0.1:1/token", "https://other:443/t"])
def test_realm_of_another_host_is_refused(realm: str, remote: WildRegistry, key_path: Path) -> None:
    """Nothing is signed for it."""
    remote.misbehave = _demanding(remote, realm)
    with pytest.raises(RegistryMisbehaved, match=r"realm host .* does not match original host"):
        _get(f"http://{remote.host}", key_path)
    assert not key_path.exists()


@pytest.mark.parametrize(
    "header", ["Basic realm=x", "Negotiate", "", "Bearer", 'Bearer realm="file:///x"', "Bearer \x00"]
)
def test_other_demands_are_refused(header: str, key_path: Path) -> None:
    """A clear error each; nothing raises anything else."""
    with pytest.raises((Unauthorized, RegistryMisbehaved)):
        parse_challenge(header, registry=parse_url("https://registry.example"))
    assert not key_path.exists()


def test_realm_without_tls_of_a_registry_with_it_is_refused() -> None:
    """The token would travel in the clear."""
    with pytest.raises(RegistryMisbehaved, match="plain HTTP"):
        parse_challenge('Bearer realm="http://r.example:443/t"', registry=parse_url("https://r.example:443"))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token":"a\\nb"}', b"x" * 100_000, b'{"token":5}'])
def test_answer_without_a_token_is_refused(body: bytes, remote: WildRegistry, key_path: Path) -> None:
    """Empty, of the wrong type, with a line break, too long."""
    demand = _demanding(remote)
    remote.misbehave = lambda asked, answer: (
        Answer(200, {}, body) if asked.path.startswith("/token") else demand(asked, answer)
    )
    with pytest.raises(RegistryMisbehaved):
        _get(f"http://{remote.host}", key_path)


def test_token_stays_with_its_origin(remote: WildRegistry, key_path: Path) -> None:
    """A redirect to another port of the same host gets no Authorization; the registry itself does."""
    with wild_registry() as cdn:
        demand = _demanding(remote)

        def redirect(asked: Asked, answer: Answer) -> Answer:
            found = demand(asked, answer)
            return Answer(307, {"Location": f"http://{cdn.host}/blob"}) if found.body == b"secret" else found

        remote.misbehave = redirect
        cdn.misbehave = lambda _asked, _answer: Answer(200, {}, b"bytes")
        assert _get(f"http://{remote.host}", key_path) == (200, b"bytes")
        assert [asked.headers.get("authorization") for asked in cdn.requests] == [None]


def test_other_host_that_demands_a_token_gets_none(remote: WildRegistry, key_path: Path) -> None:
    """Its 401 is just an answer."""
    with wild_registry() as cdn:
        remote.misbehave = lambda _asked, _answer: Answer(302, {"Location": f"http://{cdn.host}/blob"})
        cdn.misbehave = _demanding(cdn)
        assert _get(f"http://{remote.host}", key_path)[0] == 401
        assert len(cdn.requests) == 1
    assert not key_path.exists()


def test_no_place_for_a_key_is_told(remote: WildRegistry) -> None:
    """With the variable that gives it one."""
    remote.misbehave = _demanding(remote)
    with pytest.raises(Unauthorized, match="LLAMACTOR_IDENTITY"):
        _get(f"http://{remote.host}", None)


@pytest.mark.parametrize("content", ["", "not a key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"])
def test_damaged_key_is_told_and_stays(content: str, key_path: Path) -> None:
    """It is never overwritten."""
    key_path.parent.mkdir()
    key_path.write_text(content)
    with pytest.raises(Unauthorized, match="id_ed25519"):
        load_identity(key_path)
    assert key_path.read_text() == content


def test_key_made_by_several_at_once_is_one(key_path: Path) -> None:
    """Whoever comes second takes the first one's."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(load_identity(key_path).public_key)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_head_without_end_is_cut_off(remote: WildRegistry, key_path: Path) -> None:
    """Interim answers one after the other do not hold us."""
    remote.misbehave = lambda _asked, _answer: None
    with pytest.raises(RegistryUnreachable):
        _get(f"http://{remote.host}", key_path)

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            while True:
                try:
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                except OSError:
                    return

    with _serving(Endless) as port, pytest.raises(RegistryUnreachable):
        _get(f"http://127.0.0.1:{port}", key_path)


def test_answer_without_a_body_that_announces_one_does_not_hold_the_next() -> None:
    """The connection is given up instead of waiting for chunks that a 204 cannot have."""

    class Contradicting(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(204)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with _serving(Contradicting) as port:
        caller = Caller(patience=Patience(deadline_s=0.3))
        client = RegistryClient(parse_url(f"http://127.0.0.1:{port}"), caller, Abort())
        with client.channel() as channel:
            for _ in range(2):
                assert client.get(channel, client.url("/x"), {}).status == 204


def test_abort_ends_a_wait_in_another_thread(remote: WildRegistry, key_path: Path) -> None:
    """A request without an answer ends when its transfer is aborted."""
    abort, asked_for = Abort(), threading.Event()
    silence = threading.Event()

    def hold(_asked: Asked, answer: Answer) -> Answer:
        asked_for.set()
        silence.wait(20)
        return answer

    remote.misbehave = hold
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            _get(f"http://{remote.host}", key_path, abort=abort)
        except (Aborted, RegistryUnreachable) as error:
            ended.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    asked_for.wait(20)
    abort.set()
    thread.join(20)
    silence.set()
    assert len(ended) == 1
    with pytest.raises(Aborted):
        _get(f"http://{remote.host}", key_path, abort=abort)


def test_proxy_of_the_environment_is_asked(
    remote: WildRegistry, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its credentials, for other hosts; never for this machine nor for what NO_PROXY lists."""
    monkeypatch.setenv("http_proxy", f"http://user:p%40ss@{remote.host}")
    remote.misbehave = lambda _asked, _answer: Answer(200, {}, b"through")
    assert _get("http://registry.example:81", key_path) == (200, b"through")
    (asked,) = remote.requests
    assert asked.path == "http://registry.example:81/x"
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert asked.headers["host"] == "registry.example:81"
    with pytest.raises(AddressForbidden):
        _get("http://169.254.169.254", key_path)
    monkeypatch.setenv("no_proxy", "registry.invalid")
    with pytest.raises(RegistryUnreachable, match=r"lookup registry\.invalid"):
        _get("http://registry.invalid", key_path)
    assert len(remote.requests) == 1


def test_tunnel_that_a_proxy_refuses_is_told(
    remote: WildRegistry, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For https the proxy is asked to connect, and its refusal is the reason."""
    monkeypatch.setenv("https_proxy", f"http://{remote.host}")
    with pytest.raises(RegistryUnreachable, match=r"the proxy 127\.0\.0\.1:.* refuses with 501"):
        _get("https://registry.example", key_path)
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(InvalidRequest, match="name an HTTP proxy"):
        _get("https://registry.example", key_path)


def test_authority_of_ones_own_is_trusted_when_named(
    tmp_path: Path, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without SSL_CERT_FILE the error names it; with it, the registry answers."""
    certificate = _make_certificate(tmp_path)

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with _serving(Hello, certificate=certificate) as port:
        channel_module.trusted.cache_clear()
        with pytest.raises(RegistryUnreachable, match="SSL_CERT_FILE"):
            _get(f"https://127.0.0.1:{port}", key_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        channel_module.trusted.cache_clear()
        try:
            assert _get(f"https://127.0.0.1:{port}", key_path) == (200, b"hello")
        finally:
            channel_module.trusted.cache_clear()


def test_redirect_from_tls_to_none_is_refused() -> None:
    """Whoever asked for encryption keeps it."""
    client = RegistryClient(parse_url("https://r.example"), Caller(), Abort())
    with pytest.raises(RegistryMisbehaved, match="redirects to plain HTTP"):
        client.redirected(parse_url("https://r.example/x"), "http://r.example/y")
    assert client.redirected(parse_url("https://r.example/a/b"), "../c#d").geturl() == "https://r.example/c"


@contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler], *, certificate: Path | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]  # a client that distrusts us is no news
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _make_certificate(folder: Path) -> Path:
    """Write key and certificate of an authority that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry of the test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.PrivateFormat.PKCS8
    path = folder / "registry.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, plain, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
