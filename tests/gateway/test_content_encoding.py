"""Compressed bodies, alone and over a real server."""

import contextlib
import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from actors.errors import InvalidRequest
from gateway.content_encoding import unpacked
from tests.gateway.conftest import RunningGateway

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}
BODY = b'{"model": "smollm2", "prompt": "x", "stream": false}'


@settings(max_examples=40)
@given(text=st.binary(max_size=5000), layers=st.lists(st.sampled_from(sorted(PACKERS)), max_size=2))
def test_unpacked_undoes_the_encodings_in_reverse(text: bytes, layers: list[str]) -> None:
    """Whatever was packed comes out."""
    packed = text
    for layer in layers:
        packed = PACKERS[layer](packed)
    assert unpacked(packed, ", ".join(["identity", *layers]), max_bytes=5000) == text


@settings(max_examples=60)
@given(raw=st.binary(min_size=1, max_size=300), name=st.sampled_from(sorted(PACKERS)), cut=st.integers(1, 20))
def test_unpacked_refuses_what_is_not_packed_or_cut_short(raw: bytes, name: str, cut: int) -> None:
    """Noise and shortened bodies are the caller's mistake, never another error."""
    for damaged in (raw, PACKERS[name](raw)[:-cut]):
        with contextlib.suppress(InvalidRequest):
            assert len(unpacked(damaged, name, max_bytes=10_000)) <= 10_000


@pytest.mark.parametrize("name", sorted(PACKERS))
def test_unpacked_stops_at_its_bound(name: str) -> None:
    """A bomb is not inflated further than one byte too far."""
    with pytest.raises(RequestEntityTooLarge):
        unpacked(PACKERS[name](b"0" * 50_000_000), name, max_bytes=1000)


def test_unpacked_refuses_other_encodings_and_too_many() -> None:
    """By name, with what may be sent instead."""
    with pytest.raises(UnsupportedMediaType, match="gzip, deflate, zstd"):
        unpacked(b"x", "br", max_bytes=10)
    with pytest.raises(UnsupportedMediaType, match="too many times"):
        unpacked(b"x", "gzip, gzip, gzip", max_bytes=10)


@pytest.mark.parametrize("name", sorted(PACKERS))
async def test_route_reads_packed_bodies(gateway: RunningGateway, name: str) -> None:
    """On every JSON route."""
    response = await gateway.client.post(
        "/api/generate", content=PACKERS[name](BODY), headers={"Content-Encoding": name}
    )
    assert response.json()["response"] == "Hello world"


async def test_route_refuses_in_its_family_s_shape(gateway: RunningGateway) -> None:
    """Noise is 400, a bomb 413, another encoding 415."""
    cases = [("gzip", b"noise", 400), ("zstd", zstandard.compress(b"0" * 50_000_000), 413), ("br", BODY, 415)]
    for name, body, status in cases:
        headers = {"Content-Encoding": name}
        native = await gateway.client.post("/api/chat", content=body, headers=headers)
        claude = await gateway.client.post("/v1/messages", content=body, headers=headers)
        assert (native.status_code, claude.status_code) == (status, status)
        assert isinstance(native.json()["error"], str)
        assert claude.json()["error"]["message"] == native.json()["error"]
