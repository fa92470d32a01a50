"""How a family writes calls: the counterpart of its readers, for answers that are forced to be calls.

White space is the model's choice wherever templates of one family differ in it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JsonBody:
    """`{"name": NAME, "arguments": {…}}`, whatever the keys are; a number under `id_key` may come first."""

    name: str = "name"
    arguments: str = "arguments"
    id_key: str = ""
    is_indented: bool = False


@dataclass(frozen=True, slots=True)
class NamedBody:
    """The name, `before_arguments`, arguments in JSON; with `before_id` an id stands behind the name."""

    before_arguments: str
    before_id: str = ""
    id_regex: str = ""


@dataclass(frozen=True, slots=True)
class MarkupBody:
    """Parameters as text between tags; `NAME` and `KEY` stand for the names of function and parameter."""

    opening: str
    before_value: str
    behind_value: str
    closing: str = ""


@dataclass(frozen=True, slots=True)
class BracedBody:
    """`call:NAME{key:value,…}`, strings between quotes of their own."""

    quote: str


@dataclass(frozen=True, slots=True)
class PythonBody:
    """`NAME(key=value, …)`."""


Body = JsonBody | NamedBody | MarkupBody | BracedBody | PythonBody


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStyle:
    """What stands around calls, and how one is written."""

    body: Body = JsonBody()
    before: str = ""
    """In front of all of them."""
    brackets: tuple[str, str] | None = None
    """Around a list of them, which is separated by commas."""
    opening: str = ""
    """In front of each."""
    closing: str = ""
    between: str = ""
    """What separates calls that are no list; empty: white space, or nothing."""
    after: str = ""
    is_single: bool = False
    """Whether the family makes one call at a time."""
    thought: tuple[str, str] = ("", "")
    """What opens and ends thinking in front of calls that is part of the same markup."""


BARE_CALL = CallStyle(is_single=True)
"""JSON alone, which every parser reads."""
