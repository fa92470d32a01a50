"""The syntax tree of a Go template. Frozen; lists of nodes are tuples.

`line` is where the node's action begins, for error texts.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text, trimmed as its neighbours demand."""

    text: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A boolean, a number or a string."""

    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Nil:
    """The word nil."""


@dataclass(frozen=True, slots=True)
class Field:
    """`.A.B`; without names it is the dot itself."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x.A.B`; the name has its dollar sign."""

    name: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields of a pipeline in parentheses, or of a function's result."""

    node: "Pipe | Function"
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """Operands; the first may be a function."""

    operands: "tuple[Operand, ...]"


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each given the result of the one before as its last argument; declares or assigns variables."""

    line: int
    commands: tuple[Command, ...]
    declared: tuple[str, ...] = ()
    assigns: bool = False


Operand = Constant | Nil | Field | Variable | Function | Chain | Pipe


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is printed, unless it declares."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class If:
    """`if … else …`; without an else, `other` is None."""

    pipe: Pipe
    body: "Body"
    other: "Body | None" = None


@dataclass(frozen=True, slots=True)
class With:
    """`with … else …`."""

    pipe: Pipe
    body: "Body"
    other: "Body | None" = None


@dataclass(frozen=True, slots=True)
class Range:
    """`range … else …`."""

    pipe: Pipe
    body: "Body"
    other: "Body | None" = None


@dataclass(frozen=True, slots=True)
class Call:
    """`template "name" pipeline`; without a pipeline the template gets nothing."""

    line: int
    name: str
    pipe: Pipe | None


@dataclass(frozen=True, slots=True)
class Break:
    """Leaves the innermost range."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Goes on with the innermost range's next element."""


Branch = If | With | Range
Node = Text | Action | If | With | Range | Call | Break | Continue
Body = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed template: its own body, and the templates it defines."""

    body: Body
    definitions: dict[str, Body]
