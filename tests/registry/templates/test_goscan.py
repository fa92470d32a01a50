"""What is told about Go templates without rendering them."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from registry.templates.goscan import scan_go_template

_RECORDING = Path(__file__).parents[4] / "shared" / "data" / "go-templates.json"


def test_scan_collects_names_and_capabilities() -> None:
    """Fields and variables in actions count, text and comments do not."""
    shown = "{{ with $last := . }}{{ $last.Role }}{{ end }}"
    scanned = scan_go_template('Tools {{/* .Suffix */}}{{ if $.Tools }}{{ json "x .Suffix" }}{{ end }}' + shown)
    assert scanned.capabilities == {"tools"}
    assert {"$", "tools", "$last", "role"} == scanned.names
    assert not scanned.round_trip


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("{{ range .Messages }}{{ if .Thinking }}<think>\n{{ .Thinking }}\n</think>{{ end }}{{ end }}", True),
        (
            "{{ range $i, $m := .Messages }}{{ with $m.Thinking }}{{ end }}<think>{{ $m.Thinking }}</think>{{ end }}",
            True,
        ),
        ("{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}", False),
        ("{{ range .Messages }}{{ .Thinking }}{{ end }}", False),
        ("{{ range .Messages }}{{ if .Thinking }}{{ .Thinking }}</think>{{ end }}{{ end }}", False),
    ],
)
def test_scan_infers_thinking_tags_around_the_last_mention(text: str, tags: bool) -> None:  # noqa: FBT001 - a parameter
    """Texts at both ends of the list that shows Thinking, inside a range over Messages, are the tags."""
    assert scan_go_template(text).thinking_tags == (("<think>", "</think>") if tags else None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{{ .X", "template error: template: :1: unclosed action"),
        ("a\n{{ if .X }}\n", "template error: template: :3: unexpected EOF"),
        ("{{ end }}", "template error: template: :1: unexpected {{end}}"),
        ("\n{{ else }}", "template error: template: :2: unexpected {{else}}"),
    ],
)
def test_scan_unbalanced_template_raises(text: str, error: str) -> None:
    """Open actions and blocks are named with their line."""
    with pytest.raises(InvalidRequest) as caught:
        scan_go_template(text)
    assert caught.value.message == error


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("{{ if .ToolCalls }}<tool_call>\n{ {{ .X }} }{{ end }}", "<tool_call>"),
        (
            "{{ range .Messages }}{{ if and .X .ToolCalls }}{{ range .ToolCalls }} [C] [{{ end }}{{ end }}{{ end }}",
            "[C] [",
        ),
        ("{{ if .ToolCalls }}{{ .X }}<call>{{ end }}", "{"),
        ("{{ if .ToolCalls }}  {{ end }}", "{"),
        ("{{ .ToolCalls }}", "{"),
    ],
)
def test_scan_text_in_front_of_tool_calls(text: str, prefix: str) -> None:
    """The first text of the block that shows them, up to a brace; a brace when there is none."""
    assert scan_go_template(text).tool_call_prefix == prefix


def test_scan_takes_every_template_in_use() -> None:
    """All recorded templates scan, and those that mention tools are said to offer them."""
    if not _RECORDING.is_file():
        pytest.skip("the recording go-templates.json is not beside the repository")
    for template in json.loads(_RECORDING.read_text())["templates"]:
        text = template if isinstance(template, str) else template["text"]
        assert ("tools" in scan_go_template(text).capabilities) == (".Tools" in text)


@given(
    st.text(max_size=40) | st.lists(st.sampled_from(["{{", "}}", "end", "if .X", "-", " ", '"', "`", "a"])).map("".join)
)
@settings(max_examples=200)
def test_scan_never_raises_anything_else(text: str) -> None:
    """Any text scans or is refused."""
    with contextlib.suppress(InvalidRequest):
        assert scan_go_template(text).text == text
