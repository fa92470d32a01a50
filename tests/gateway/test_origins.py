"""The CORS allow list and the names of this machine."""

import pytest

from actors.errors import InvalidRequest
from gateway.origins import Origins, host_without_port, is_local_address, is_local_name, is_loopback


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://localhost:3000",
        "http://127.0.0.1:8080",
        "http://0.0.0.0",
        "app://x",
        "file://x",
        "tauri://localhost",
        "vscode-webview://x",
    ],
)
def test_origins_allow_what_is_built_in(origin: str) -> None:
    """Pages of this machine and of desktop applications may call."""
    assert Origins().allows(origin)


@pytest.mark.parametrize(
    "origin", ["http://evil.example.com", "null", "http://192.168.1.5", "http://localhost.evil.com"]
)
def test_origins_refuse_others(origin: str) -> None:
    """Everybody else may not."""
    assert not Origins().allows(origin)


def test_origins_allow_what_is_configured() -> None:
    """OLLAMA_ORIGINS adds origins, with one `*` each."""
    origins = Origins(("https://a.example.com", "https://*.b.example.com"))
    assert origins.allows("https://a.example.com")
    assert origins.allows("https://x.b.example.com")
    assert not origins.allows("https://b.example.com.evil.com")
    assert Origins(("*",)).allows("http://anything")


@pytest.mark.parametrize("entry", ["a.example.com", "https://*.*.com", "ftp://x"])
def test_origins_refuse_entries_that_cannot_be_origins(entry: str) -> None:
    """A bad entry stops the server from starting."""
    with pytest.raises(InvalidRequest):
        Origins((entry,))


@pytest.mark.parametrize(
    ("header", "host"),
    [("localhost:1234", "localhost"), ("[::1]:11434", "::1"), ("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("", "")],
)
def test_host_without_port(header: str, host: str) -> None:
    """Port and brackets are cut off."""
    assert host_without_port(header) == host


def test_local_names_and_addresses() -> None:
    """Names that only this network can mean, and addresses that are private or ours."""
    assert all(is_local_name(name) for name in ("", "LOCALHOST", "foo.local", "a.localhost", "b.internal"))
    assert not is_local_name("evil.example.com")
    assert all(is_local_address(host) for host in ("127.0.0.1", "10.0.0.1", "::1", "0.0.0.0"))
    assert not is_local_address("8.8.8.8")
    assert not is_local_address("nonsense")
    assert is_loopback("127.0.0.1")
    assert not is_loopback("0.0.0.0")
