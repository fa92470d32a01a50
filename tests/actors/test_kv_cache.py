"""Types of the KV cache."""

import pytest

from actors.kv_cache import NAMES, is_quantized, scaled_bytes


@pytest.mark.parametrize(
    ("name", "n_bytes"), [("f32", 2000), ("f16", 1000), ("bf16", 1000), ("q8_0", 531), ("q4_0", 281), ("q5_1", 375)]
)
def test_scaled_bytes_follows_the_blocks_of_the_type(name: str, n_bytes: int) -> None:
    """A block of 32 values has so many bytes in each type."""
    assert scaled_bytes(1000, name) == n_bytes


def test_only_blocks_are_quantized() -> None:
    """Floats are not."""
    assert [name for name in NAMES if not is_quantized(name)] == ["f32", "f16", "bf16"]
