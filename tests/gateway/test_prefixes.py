"""Marks of prompts' beginnings."""

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages.job import ChatMessage, ChatPrompt, RawPrompt, TokenPrompt
from gateway.prefixes import prefix_marks


def chat(*contents: str) -> ChatPrompt:
    """Make a chat whose turns alternate."""
    roles = ("user", "assistant")
    return ChatPrompt(messages=tuple(ChatMessage(role=roles[n % 2], content=c) for n, c in enumerate(contents)))


def test_prefix_marks_of_the_next_turn_begin_with_those_of_the_last() -> None:
    """A chat that goes on is recognised."""
    first = prefix_marks(chat("a" * 700))
    second = prefix_marks(chat("a" * 700, "b" * 700, "c"))
    assert len(first) == 2
    assert second[:2] == first
    assert len(second) == 3


def test_prefix_marks_of_other_prompts_differ() -> None:
    """Also of those that differ in a role alone."""
    text = "a" * 300
    system = ChatPrompt(messages=(ChatMessage(role="system", content=text),))
    marks = [prefix_marks(chat(text)), prefix_marks(system), prefix_marks(RawPrompt(text=text))]
    assert len({mark for (mark,) in marks}) == 3


def test_prefix_marks_of_short_prompts_are_none() -> None:
    """Nothing worth a detour."""
    assert prefix_marks(RawPrompt(text="a" * 255)) == ()
    assert prefix_marks(TokenPrompt(tokens=(1,) * 999)) == ()


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=2000), st.text(max_size=500), st.text(max_size=500), st.integers(0, 3))
def test_prefix_marks_agree_as_far_as_prompts_do(begin: str, left: str, right: str, cut: int) -> None:
    """Equal beginnings have equal marks, however the text is cut into messages."""
    n_bytes = len(begin.encode())
    one, other = prefix_marks(RawPrompt(text=begin + left)), prefix_marks(RawPrompt(text=begin + right))
    n_shared = sum(256 << n <= n_bytes for n in range(16))
    assert one[:n_shared] == other[:n_shared]
    assert len(prefix_marks(chat(*([begin] * cut)))) <= 16
