"""Templates in use, rendered as Go rendered them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from actors.errors import TemplateFailed
from registry.templates.go.prompt import PromptValues, render_prompt
from registry.templates.go.template import compiled

_PRINTS_A_STRUCT = re.compile(r"\{\{[^}]*\.Function\s*-?\}\}")


@pytest.fixture(scope="module")
def recording() -> dict[str, Any]:
    """Templates, values and what Go made of them; skips where it is absent."""
    path = Path(__file__).parents[5] / "shared" / "data" / "go-templates.json"
    if not path.is_file():
        pytest.skip("the recording go-templates.json is not beside the repository")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_render_prompt_every_recorded_case_is_as_go_has_it(recording: dict[str, Any]) -> None:
    """Same text or an error where Go has one; six templates that print a Go struct print JSON instead."""
    different = []
    for case in recording["cases"]:
        template, values = recording["templates"][case["template"]], recording["values"][case["values"]]
        if values.get("Tools") and _PRINTS_A_STRUCT.search(template):
            continue
        try:
            same = render_prompt(template, _values(values)) == case["output"] and not case["error"]
        except TemplateFailed:
            same = bool(case["error"])
        if not same:
            different.append(case["id"])
    assert different == []


def test_compiled_names_are_those_that_were_recorded(recording: dict[str, Any]) -> None:
    """Fields and variables that a template mentions, in lower case."""
    for case in recording["cases"]:
        assert compiled(recording["templates"][case["template"]]).names == set(case["vars"])


def test_render_prompt_struct_of_a_function_prints_json(recording: dict[str, Any]) -> None:
    """Where the reference prints a Go struct by mistake, the function stands as JSON."""
    template = next(one for one in recording["templates"] if _PRINTS_A_STRUCT.search(one))
    text = render_prompt(template, _values(recording["values"][5]))
    assert '{"name":"get_current_weather","description":"Get the current weather","parameters":{' in text
    assert "<nil>" not in text


def _values(values: dict[str, Any]) -> PromptValues:
    think = (values.get("ThinkLevel") or values.get("Think", False)) if values.get("IsThinkSet") else None
    return PromptValues(
        messages=values["Messages"],
        tools=values.get("Tools", ()),
        prompt=values.get("Prompt", ""),
        suffix=values.get("Suffix", ""),
        think=think,
        turns=values.get("Legacy", False),
    )
