"""Prompts that differ from their first word on, so that no cache helps, and whose answers run long."""

import itertools
from collections.abc import Iterator

_HEROES = ["robot", "painter", "sailor", "baker", "teacher", "gardener", "pilot", "doctor", "singer", "farmer"]
_PLACES = ["forest", "desert", "harbor", "mountain", "island", "river", "city", "valley", "castle", "village"]
_FIRST_NUMBER = 10_000


def long_stories() -> Iterator[str]:
    """Give prompts without end; all have nearly the same number of tokens."""
    for number in itertools.count(_FIRST_NUMBER):
        hero = _HEROES[number % len(_HEROES)]
        place = _PLACES[number // len(_HEROES) % len(_PLACES)]
        subject = f"a {hero} and a {place}"
        yield f"{number} years ago: write a very long and detailed story, with many chapters, about {subject}."
