"""Answers of every family, whole and in pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.parse.events import CallArguments, CallClosed, CallOpened, Text
from gateway.parse.families import FAMILIES, HERMES, PARSERS
from gateway.parse.model_parser import parser_for
from gateway.parse.reader import open_end
from gateway.parse.tools import DeclaredTools
from tests.gateway.parse.samples import CALL, PARIS, SAMPLES, SIGNS, Found, dialect_of, events_of, found_in

FRAGMENTS = sorted(
    {
        *(marker for name in SIGNS for marker in dialect_of(name).visible_tokens(with_calls=True)),
        *("<think>", "</think>", "\n", " ", "{", "}", "[", "]", '"', "\\", ",", "a", "Action: ```json", "functools["),
        *(
            CALL,
            '{"name": "now"}',
            "get_weather",
            "call:now{}",
            "now()",
            "to=functions.now",
            "analysis",
            "```",
            "false",
            "1e5",
        ),
        *(
            "<function=now>",
            "</function>",
            "<arg_key>",
            "assistant",
            ";",
            '"name":',
            '"arguments":',
            "</call>",
            "<call>",
        ),
    }
)


@pytest.mark.parametrize(("name", "answer", "expected"), SAMPLES)
def test_parse_answer_of_a_family(name: str, answer: str, expected: Found) -> None:
    """Thinking, text and calls come apart; what cannot be read as a call is text, marked."""
    assert found_in(events_of(dialect_of(name), [answer])) == expected


@pytest.mark.parametrize(("name", "answer", "expected"), SAMPLES)
def test_parse_answer_character_by_character(name: str, answer: str, expected: Found) -> None:
    """The same comes out of single characters, in the same order."""
    dialect = dialect_of(name)
    events = events_of(dialect, list(answer))
    assert events == events_of(dialect, [answer])
    assert found_in(events) == expected


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(SIGNS)), st.lists(st.sampled_from(FRAGMENTS), max_size=14), st.data())
def test_parse_does_not_depend_on_how_the_answer_is_cut(name: str, fragments: list[str], data: st.DataObject) -> None:
    """Whatever a model says, however it is cut: nothing raises, and the events are those of the whole answer."""
    answer = "".join(fragments)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=8)) if answer else ())
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    tail = data.draw(st.sampled_from(["", "<think>\n", "<|start|>assistant<|channel|>final<|message|>"]))
    dialect = dialect_of(name)
    whole = events_of(dialect, [answer], tail=tail)
    assert events_of(dialect, pieces, tail=tail) == whole
    assert events_of(dialect, list(answer), tail=tail) == whole


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_parse_plain_text_passes_through_unchanged(text: str) -> None:
    """Text without markers comes out as it went in, without tools even in the same pieces."""
    events = events_of(dialect_of("mistral"), list(text), tools=DeclaredTools())
    assert "".join(event.text for event in events if isinstance(event, Text)) == text


@pytest.mark.parametrize("said", ["Hello", "Hello <", "a <tool", "b <tool_calx", "<thinking", "x </thin"])
def test_parse_holds_back_only_what_can_become_a_marker(said: str) -> None:
    """Everything is out at once but for the end that may still be a marker, and the space before it."""
    dialect = dialect_of("hermes")
    parser = parser_for(dialect, DeclaredTools(), prompt_tail="")
    out = "".join(event.text for event in parser.feed(said) if isinstance(event, Text))
    held = open_end(said, ("<think>", "</think>"))
    assert out == said[: len(said) - held]


def test_parse_arguments_arrive_piece_by_piece() -> None:
    """A call is opened with its name, and its arguments come as the model writes them."""
    parser = parser_for(HERMES, DeclaredTools([{"function": {"name": "get_weather"}}]), prompt_tail="")
    assert parser.feed('<tool_call>{"name": "get_weather", "arguments": {"ci') == [
        CallOpened(0, "get_weather"),
        CallArguments(0, '{"ci'),
    ]
    assert parser.feed('ty": "Pa') == [CallArguments(0, 'ty":"Pa')]
    assert parser.feed('ris"}}') == [CallArguments(0, 'ris"}'), CallClosed(0, *PARIS)]
    assert parser.feed("</tool_call>") == parser.close() == []


@pytest.mark.parametrize("tail", ["<|im_start|>assistant\n<think>\n", "...<think>"])
def test_parse_thinking_that_the_prompt_opened(tail: str) -> None:
    """The answer begins inside its thinking when the prompt ended with the opening tag; a second one is swallowed."""
    dialect = dialect_of("hermes")
    assert found_in(events_of(dialect, ["Hm.\n</think>\n\nHi"], tail=tail)) == Found("Hi", "Hm.")
    assert found_in(events_of(dialect, list("<think>\nHm.</think>Hi"), tail=tail)) == Found("Hi", "Hm.")


def test_parse_without_tools_leaves_calls_alone() -> None:
    """A request that declares no tools gets what looks like a call as text."""
    answer = f"<tool_call>{CALL}</tool_call>"
    assert events_of(dialect_of("hermes"), [answer], tools=DeclaredTools()) == [Text(answer)]


def test_dialects_have_no_marker_that_begins_another() -> None:
    """A marker is known when its last character is there."""
    for dialect in (*(each for _, each in FAMILIES), *PARSERS.values()):
        openings = [form.opening for form in dialect.calls] + [tags.opening for tags in dialect.thinking]
        markers = {*openings, *dialect.dropped}
        assert not [(a, b) for a in markers for b in markers if a != b and b.startswith(a)], dialect.name
