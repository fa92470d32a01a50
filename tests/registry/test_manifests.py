"""Manifests and configurations: byte for byte as the reference writes them."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidManifest
from registry.manifests import CONFIG, Layer, Manifest, go_json, parse_config, parse_manifest

_DIGEST = "sha256:" + "a" * 64


def test_manifests_and_configs_round_trip_as_recorded(recorded_store: dict[str, Any]) -> None:
    """What the reference wrote is written again without a changed byte."""
    for text in recorded_store["manifests"].values():
        manifest = parse_manifest(text.encode())
        assert go_json(manifest) == text.encode()
        config = recorded_store["blobs"][manifest.config.digest].encode()
        assert go_json(parse_config(config)) == config


def test_go_json_escapes_as_go_does() -> None:
    """Angle brackets, ampersands and line separators are escaped, other text is not."""
    assert go_json({"a": "<&>\u2028é"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028é"}\n'.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"schemaVersion":2,"config":{}}',
        b"\xff\xfe",
        b'{"config":{"mediaType":"x","digest":"sha256:../../x","size":1},"layers":[]}',
        b'{"config":{"mediaType":"x","digest":"' + _DIGEST.encode() + b'","size":-1},"layers":[]}',
        b'{"config":{"mediaType":"x","digest":"' + _DIGEST.encode() + b'","size":1},"layers":null}',
        b"[" * 100_000,
    ],
)
def test_parse_manifest_bad_content_raises(content: bytes) -> None:
    """Hostile or broken manifests are one error; no digest in them can leave the store."""
    with pytest.raises(InvalidManifest):
        parse_manifest(content)


def test_parse_config_bad_content_raises() -> None:
    """A configuration must be an object with fields of the right types; unknown ones are ignored."""
    for content in (b"[]", b"\xff", b'{"model_family":5}', b""):
        with pytest.raises(InvalidManifest):
            parse_config(content)
    assert parse_config(b'{"rootfs":{"type":"layers"},"model_family":"llama"}').model_family == "llama"


def test_manifest_size_counts_config_and_unknown_layers() -> None:
    """Unknown media types are kept and counted."""
    manifest = Manifest(config=Layer(CONFIG, _DIGEST, 5), layers=(Layer("application/x-unknown", _DIGEST, 7),))
    assert manifest.size_bytes == 12
    assert parse_manifest(go_json(manifest)) == manifest


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_parsers_never_raise_anything_else(content: bytes) -> None:
    """Any bytes are a value or an InvalidManifest."""
    for parse in (parse_manifest, parse_config):
        with contextlib.suppress(InvalidManifest):
            parse(content)
