"""How many terminal columns text takes."""

import unicodedata


def text_columns(text: str) -> int:
    """Count the columns of a text without line breaks."""
    return sum(character_columns(character) for character in text)


def character_columns(character: str) -> int:
    """Count the columns of one character."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
