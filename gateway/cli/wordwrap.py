"""Breaking streamed text between words.

A word is held back until its end has been seen, then goes to the current line or to the next one. Scripts without
blanks break anywhere between wide characters, so nothing is held back for long; a word wider than a line is let go
and left to the terminal.
"""

from gateway.cli.columns import character_columns


class WordWrap:
    """Wraps one answer; owns the position on the current line and the word in the making."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._word = ""
        self._word_columns = 0

    def feed(self, text: str) -> str:
        """Take a piece of the text and give what can be printed now."""
        return "".join(self._take(character) for character in text)

    def flush(self) -> str:
        """Give what was held back."""
        word, columns = self._word, self._word_columns
        self._word, self._word_columns = "", 0
        if not word:
            return ""
        is_too_wide = self._column + columns > self._width
        if is_too_wide and self._column > 0 and columns <= self._width:
            self._column = columns
            return "\n" + word
        self._column = (self._column + columns) % self._width if is_too_wide else self._column + columns
        return word

    def _take(self, character: str) -> str:
        if character == "\n":
            word = self.flush()
            self._column = 0
            return word + "\n"
        if character.isspace():
            word = self.flush()
            if self._column >= self._width:
                return word  # the next word starts a new line anyway
            self._column += 1
            return word + character
        columns = character_columns(character)
        before = self.flush() if columns > 1 else ""
        self._word += character
        self._word_columns += columns
        if columns > 1 or self._word_columns >= self._width:
            return before + self.flush()
        return before
