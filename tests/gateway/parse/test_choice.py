"""Choosing the dialect of a model by its template or its parser."""

import pytest

from gateway.parse.choice import call_prefix, dialect_for
from gateway.parse.families import HARMONY, HERMES


@pytest.mark.parametrize(
    ("template", "prefix"),
    [
        ("{{ range .ToolCalls }}x{{ end }}", "{"),
        ('{{ if .ToolCalls }}<tool_call>\n{{ range .ToolCalls }}{"name"', "<tool_call>"),
        ("{{- if .ToolCalls }}[TOOL_CALLS] [{{ range .ToolCalls }}{", "[TOOL_CALLS] ["),
        ('{{ if .Content }}a{{ else if .ToolCalls }}{{ range .ToolCalls }}{"name": 1}{{ end }}{{ end }}', "{"),
        ("{{ if .ToolCalls }}{{ .Thinking }}<x>{{ end }}", "{"),
        ("{%- if message.tool_calls %}{% for c in message.tool_calls %}<call>{{ c }}", "<call>"),
        ("{%- if message['tool_calls'] -%}{{- '<fn>\\n{\"name\": ' }}", "<fn>"),
        ("no calls here", "{"),
    ],
)
def test_call_prefix_of_templates(template: str, prefix: str) -> None:
    """What the template writes before a call of the history announces calls of the answer."""
    assert call_prefix(template) == prefix


def test_dialect_a_known_parser_wins() -> None:
    """A PARSER decides whatever the template looks like; an unknown one is ignored."""
    assert dialect_for("<tool_call>", parser="harmony").name == HARMONY.name
    assert dialect_for("<tool_call>", parser="nobody").calls == HERMES.calls


def test_dialect_thinking_tags_come_from_the_template() -> None:
    """Tags that the template mentions, or that were found in it otherwise, are added to its family."""
    assert [tags.opening for tags in dialect_for("{{ x }}</think>").thinking] == ["<think>"]
    assert [tags.opening for tags in dialect_for("x", thinking_tags=("<a>", "</a>")).thinking] == ["<a>"]
    assert dialect_for("plain").thinking == ()


def test_dialect_shows_the_control_tokens_it_needs() -> None:
    """Markers of calls are asked for only with tools; words are no tokens."""
    mistral = dialect_for("[TOOL_CALLS][THINK][/THINK]")
    assert mistral.visible_tokens(with_calls=False) == ("[THINK]", "[/THINK]")
    assert set(mistral.visible_tokens(with_calls=True)) >= {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}
