"""Jinja chat templates: rendered as transformers does, and kept from doing harm."""

from pathlib import Path
from typing import Any

import pytest

from actors.errors import TemplateFailed
from registry.gguf import read_gguf
from registry.templates.jinja import check_template, render_chat

MESSAGES = [{"role": "user", "content": "<hi> & bye"}]
TINY = Path(__file__).parents[2] / "data" / "tiny-chatml-tools.gguf"


def test_render_chat_real_template_with_tools_and_calls() -> None:
    """A template from a real model renders tools, calls and results."""
    template = read_gguf(TINY).text("tokenizer.chat_template")
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    call = {"function": {"name": "add", "arguments": {"a": 1}}}
    rendered = render_chat(
        template,
        messages=[
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "2"},
        ],
        tools=[tool],
        variables={"enable_thinking": False},
    )
    assert '{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}' in rendered
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>' in rendered
    assert "<tool_response>\n2\n</tool_response>" in rendered
    assert rendered.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{% if true %}\nx\n{% endif %}\ny", "x\ny"),
        ("  {% if true %}\nx{% endif %}", "x"),
        ("{{ messages[0].content }}", "<hi> & bye"),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "<hi> & bye"}'),
        ("{{ {'b': 'é', 'a': 1} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 1,\n "b": "é"\n}'),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% generation %}x{% endgeneration %}", "x"),
        ("{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ extra }}", "<s></s>Truemore"),
        ("{{ tools is none }}", "True"),
        ("{{ from_json('{\"a\": 1}').a }}{{ ('[2]' | from_json)[0] }}", "12"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        (
            "{{ 'a' + 'b' }}{{ 2 ** 10 }}{{ 10 ** 9 * 10 ** 9 }}{{ '-' * 3 }}{{ '%s!' % 'x' }}",
            "ab10241" + "0" * 18 + "---x!",
        ),
        ("{{ 'a' ~ 1 ~ none ~ messages | length }}", "a1None1"),
        ("{% set ns = namespace(x=1) %}{% set ns.x = 2 %}{{ ns.x }}", "2"),
    ],
)
def test_render_chat_environment_is_that_of_transformers(template: str, rendered: str) -> None:
    """Blocks are trimmed, JSON is plain, and the extra functions exist."""
    values = {"bos_token": "<s>", "eos_token": "</s>", "extra": "more"}
    text = render_chat(template, messages=MESSAGES, variables=values)
    assert text == rendered


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% if %}", "line 1"),
        ("{% for x in messages %}", "line 1"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe|undefined"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "unsafe|undefined"),
        ("{{ messages.append({}) }}", "unsafe|not callable|not safe"),
        ("{% set _ = messages[0].update({'role': 'x'}) %}", "unsafe|not safe"),
        ("{{ 'x' * 2000000000 }}", "too large"),
        ("{{ 2000000000 * [1] }}", "too large"),
        ("{{ 9 ** (9 ** 9) }}", "too large"),
        (
            "{% set ns = namespace(x='x' * 1000) %}{% for _ in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "large",
        ),
        ("{% set ns = namespace(x='x') %}{% for _ in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "large"),
        ("{% for _ in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{% for _ in range(9) %}{{ 'x' * 10000000 }}{% endfor %}", "writes more than"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ undefined.attribute }}", "undefined"),
        ("{{ messages | tojson | from_json | tojson | missing }}", "filter"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "compiled|expected"),
        ("{% include 'x' %}", "loader|no loader|TypeError"),
        ("x" * ((1 << 20) + 1), "longer than"),
    ],
)
def test_render_chat_hostile_or_broken_template_raises(template: str, reason: str) -> None:
    """Whatever a template does, the error is one, and its reason is told."""
    with pytest.raises(TemplateFailed, match=reason):
        render_chat(template, messages=MESSAGES)


def test_render_chat_input_is_not_touched() -> None:
    """Templates work on copies, whichever way they find to change their input."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "x", "more": {"a": [1]}}]
    for template in ("{% set messages = messages[1:] %}{{ messages }}", "{{ messages[0].more.a.append(2) }}"):
        try:
            render_chat(template, messages=messages)
        except TemplateFailed:
            continue
    assert messages == [{"role": "user", "content": "x", "more": {"a": [1]}}]


def test_check_template_finds_syntax_errors_without_rendering() -> None:
    """A template that compiles passes even if it would fail later."""
    check_template("{{ 1 / 0 }}")
    with pytest.raises(TemplateFailed):
        check_template("{{ 1 /")
