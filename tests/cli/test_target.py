"""Tests of the client's reading of OLLAMA_HOST."""

import pytest

from gateway.cli.target import Target, target_from


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Target("127.0.0.1", 11434)),
        ("0.0.0.0", Target("127.0.0.1", 11434)),
        ("0.0.0.0:8080", Target("127.0.0.1", 8080)),
        ("[::]:8080", Target("::1", 8080)),
        (":9999", Target("127.0.0.1", 9999)),
        ("box.lan", Target("box.lan", 11434)),
        ("http://box.lan", Target("box.lan", 80)),
        ("https://box.lan/models/", Target("box.lan", 443, "/models", is_encrypted=True)),
        ("  'box:1'  ", Target("box", 1)),
    ],
)
def test_target_from_each_form_of_host(text: str, expected: Target) -> None:
    """Addresses to listen on become addresses to call; scheme, port and path are kept."""
    assert target_from({"OLLAMA_HOST": text}) == expected
