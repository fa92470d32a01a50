"""What one render may use: the bounds that keep any template from hanging or exhausting a process.

Every list of nodes that runs costs its length in steps, every function what it reads or writes; what is printed counts
against the output. So nested ranges, doubling strings and recursive templates all end in an error, soon.
"""

from actors.errors import TemplateFailed

MOST_STEPS = 1_000_000
"""A second or two of work; a conversation of 10,000 messages takes 200,000."""
LONGEST_OUTPUT = 32 << 20
"""Characters; a context of five million tokens."""
LONGEST_VALUE = 16 << 20
"""Characters of one string that a function makes."""
DEEPEST_CALL = 50
"""Templates that call templates."""
CHARACTERS_PER_STEP = 64


class Budget:
    """What is left for one render."""

    __slots__ = ("depth", "output", "steps")

    def __init__(self, *, steps: int = MOST_STEPS, output: int = LONGEST_OUTPUT) -> None:
        self.steps = steps
        self.output = output
        self.depth = DEEPEST_CALL

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises:
            TemplateFailed: there are not as many left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TemplateFailed("it takes too many steps: it loops too often over what it is given")

    def made(self, text: str) -> str:
        """Account for a string that a function made, and give it back.

        Raises:
            TemplateFailed: it is too long, or the steps are used up.
        """
        if len(text) > LONGEST_VALUE:
            raise TemplateFailed(f"it makes a text of more than {LONGEST_VALUE} characters")
        self.spend(len(text) // CHARACTERS_PER_STEP)
        return text
