"""Numbers as Ollama writes them."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.numbers import human_count, plain_number, shortest_float32


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (134_515_008, "134.52M"),
        (2_004_672, "2.00M"),
        (22_565_376, "22.57M"),
        (7_241_732_096, "7.2B"),
        (70_000_000_000, "70B"),
        (12_345, "12K"),
        (999, "999"),
    ],
)
def test_human_count_shortens_as_people_know_it(count: int, text: str) -> None:
    """Billions, millions and thousands have their own number of decimals."""
    assert human_count(count) == text


@given(st.floats(width=32, allow_nan=False))
@settings(max_examples=100)
def test_shortest_float32_is_the_same_number_in_32_bits(value: float) -> None:
    """No digit that matters is lost."""
    assert struct.pack("<f", shortest_float32(value)) == struct.pack("<f", value)


def test_shortest_float32_drops_digits_that_32_bits_do_not_hold() -> None:
    """What was written as 1e-05 reads as 1e-05."""
    assert shortest_float32(struct.unpack("<f", struct.pack("<f", 1e-5))[0]) == 1e-5


def test_plain_number_whole_floats_become_integers() -> None:
    """Also inside containers; true stays true."""
    assert repr(plain_number({"a": 1.0, "b": [2.5, True, "x"]})) == "{'a': 1, 'b': [2.5, True, 'x']}"
