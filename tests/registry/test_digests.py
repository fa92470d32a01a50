"""Digests: the one accepted syntax."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidDigest
from registry.digests import digest_of, digest_of_file, hex_of, parse_digest


@given(st.binary(max_size=8), st.sampled_from(":-"), st.booleans())
@settings(max_examples=30)
def test_parse_digest_either_separator_and_case_gives_one_form(content: bytes, separator: str, upper: bool) -> None:  # noqa: FBT001 - drawn
    """Both separators and upper-case digits are read; the result has a colon and lower case."""
    digits = hashlib.sha256(content).hexdigest()
    assert parse_digest(f"sha256{separator}{digits.upper() if upper else digits}") == digest_of(content)
    assert hex_of(digest_of(content)) == digits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha512:" + "0" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "0" * 64 + "\n",
        "../" + "0" * 64,
    ],
)
def test_parse_digest_other_text_raises(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidDigest, match="invalid digest format"):
        parse_digest(text)


def test_digest_of_file_equals_digest_of_its_bytes(tmp_path: Path) -> None:
    """A file and its bytes have one digest."""
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    assert digest_of_file(path) == digest_of(b"bytes")
