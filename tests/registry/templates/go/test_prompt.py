"""Conversations through Go templates: variables, modes, and templates that show one turn."""

import pytest

from actors.errors import TemplateFailed
from registry.templates.go.prompt import PromptValues, render_prompt

_SYSTEM = {"role": "system", "content": "S"}
_USER = {"role": "user", "content": "U"}
_ANSWER = {"role": "assistant", "content": "A"}
_TURN = "[{{ .System }}|{{ .Prompt }}|{{ .Response }}]"


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([_USER], "[|U|"),
        ([_SYSTEM, _USER], "[S|U|"),
        ([_SYSTEM, _USER, _ANSWER, _USER], "[S|U|A][|U|"),
        ([_USER, _ANSWER], "[|U|A"),
        ([_USER, _SYSTEM, _USER], "[|U|][S|U|"),
        ([_USER, _USER], "[|U\n\nU|"),
        ([], "[||"),
    ],
)
def test_render_prompt_template_of_one_turn_is_repeated(messages: list[dict[str, str]], text: str) -> None:
    """Each turn is rendered whole; the last one ends at the response, which goes on an answer that has begun."""
    assert render_prompt(_TURN, PromptValues(messages=messages)) == text


def test_render_prompt_without_a_response_ends_behind_the_prompt() -> None:
    """The response stands at the end of a template that does not mention it."""
    assert render_prompt("{{ .System }}: {{ .Prompt }}", PromptValues(messages=[_SYSTEM, _USER])) == "S: U"


def test_render_prompt_joins_messages_of_one_role_but_not_results() -> None:
    """Systems are also joined apart from the messages."""
    template = "{{ .System }}#{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}"
    result = {"role": "tool", "content": "R", "tool_name": "t"}
    messages = [_SYSTEM, _USER, _USER, result, result, _SYSTEM]
    assert render_prompt(template, PromptValues(messages=messages)) == (
        "S\n\nS#system=S;user=U\n\nU;tool=R;tool=R;system=S;"
    )


@pytest.mark.parametrize(
    ("think", "text"),
    [(None, "false  false"), (False, "false  true"), (True, "true medium true"), ("high", "true high true")],
)
def test_render_prompt_thinking_is_told_in_three_variables(think: bool | str | None, text: str) -> None:  # noqa: FBT001
    """Whether, how much, and whether anything was said about it."""
    template = "{{ if .Messages }}{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}{{ end }}"
    assert render_prompt(template, PromptValues(messages=[_USER], think=think)) == text


def test_render_prompt_with_a_suffix_fills_in() -> None:
    """Prompt and suffix are all that such a template gets."""
    template = "{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ else }}{{ range .Messages }}x{{ end }}{{ end }}"
    values = PromptValues(messages=[_USER], prompt="def f(", suffix="return")
    assert render_prompt(template, values) == "<P>def f(<S>return<M>"


def test_render_prompt_else_behind_the_response_is_refused() -> None:
    """Such a template has no form that ends at its response."""
    template = "{{ if .Response }}{{ .Response }}{{ else }}{{ .Prompt }}{{ end }}"
    with pytest.raises(TemplateFailed, match=r"mention \.Response once"):
        render_prompt(template, PromptValues(messages=[_USER]))


def test_render_prompt_typescript_types_of_properties() -> None:
    """Types, lists of types and unions, as harmony's template shows them."""
    properties = {
        "a": {"type": "string"},
        "b": {"type": ["number", "null"]},
        "c": {"anyOf": [{"type": "array"}, {"type": "object"}]},
        "d": {},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": properties}}}
    template = (
        "{{ range .Messages }}{{ end }}{{ range .Tools }}{{ range $n, $p := .Function.Parameters.Properties }}"
        "{{ $n }}: {{ $p | toTypeScriptType }}; {{ end }}{{ end }}"
    )
    shown = render_prompt(template, PromptValues(messages=[_USER], tools=[tool]))
    assert shown == "a: string; b: number | null; c: any[] | Record<string, any>; d: any; "


def test_render_prompt_numbers_of_arguments_are_floats_unless_that_loses_digits() -> None:
    """Go decodes free JSON so; an identifier of 64 bits keeps its digits."""
    call = {"function": {"name": "f", "arguments": {"million": 1000000, "id": 9007199254740993}}}
    message = {"role": "assistant", "tool_calls": [call]}
    template = (
        "{{ range .Messages }}{{ range .ToolCalls }}{{ range $v := .Function.Arguments }}{{ $v }} {{ end }}"
        "{{ .Function.Arguments }}{{ end }}{{ end }}"
    )
    shown = render_prompt(template, PromptValues(messages=[message]))
    assert shown == '9007199254740993 1e+06 {"id":9007199254740993,"million":1000000}'


def test_render_prompt_tool_that_is_no_tool_renders_as_an_empty_one() -> None:
    """Wrong types in a schema read as absent, and never raise anything else."""
    tools = [{"type": 1, "function": {"name": [], "parameters": {"properties": {"a": 3}, "required": "x"}}}]
    shown = render_prompt("{{ range .Messages }}{{ end }}{{ .Tools }}", PromptValues(messages=[_USER], tools=tools))
    assert shown == (
        '[{"type":"","function":{"name":"","description":"","parameters":{"type":"","properties":{"a":{}}}}}]'
    )
