"""The styles of the families, and which of a family's a model's template shows.

Sources of the forms: the vendors' published chat templates.
"""

from collections.abc import Callable
from dataclasses import replace

from gateway.parse.call_style import (
    BARE_CALL,
    BracedBody,
    CallStyle,
    JsonBody,
    MarkupBody,
    NamedBody,
    PythonBody,
)

_LIST = ("[", "]")
_PARAMETERS = JsonBody(arguments="parameters")
_FUNCTION_TAG = CallStyle(body=NamedBody(">"), opening="<function=", closing="</function>")
_CODER = MarkupBody("<function=NAME>\n", "<parameter=KEY>\n", "\n</parameter>\n", "</function>")
_PAIRS = MarkupBody("NAME\n", "<arg_key>KEY</arg_key>\n<arg_value>", "</arg_value>\n")
_INVOKE = MarkupBody(
    '<atem:invoke name="NAME">\n', '<atem:parameter name="KEY">', "</atem:parameter>\n", "</atem:invoke>"
)
_TOOL_CALL = CallStyle(opening="<tool_call>", closing="</tool_call>")
_DEEPSEEK = CallStyle(
    before="<｜tool▁calls▁begin｜>",  # noqa: RUF001  # the token's own characters
    opening="<｜tool▁call▁begin｜>",  # noqa: RUF001
    body=NamedBody("<｜tool▁sep｜>"),  # noqa: RUF001
    closing="<｜tool▁call▁end｜>",  # noqa: RUF001
    after="<｜tool▁calls▁end｜>",  # noqa: RUF001
)
_FENCED_DEEPSEEK = replace(
    _DEEPSEEK,
    opening="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",  # noqa: RUF001
    body=NamedBody("\n```json\n"),
    closing="```<｜tool▁call▁end｜>",  # noqa: RUF001
)


def _hermes(template: str) -> CallStyle:
    if "<arg_key>" in template:
        return replace(_TOOL_CALL, body=_PAIRS)
    return replace(_TOOL_CALL, body=_CODER if "<function=" in template else _json(template))


def _llama(template: str) -> CallStyle:
    if "<function=" in template and "<|python_tag|>" not in template:
        return _FUNCTION_TAG
    return replace(BARE_CALL, body=JsonBody() if '"arguments"' in template else _PARAMETERS)


def _mistral(template: str) -> CallStyle:
    if "[ARGS]" not in template:
        return CallStyle(before="[TOOL_CALLS]", brackets=_LIST)
    body = NamedBody("[ARGS]", "[CALL_ID]", "[a-zA-Z0-9]{9}") if "[CALL_ID]" in template else NamedBody("[ARGS]")
    return CallStyle(opening="[TOOL_CALLS]", body=body)


def _bar_array(template: str) -> CallStyle:
    if "functools[" in template:
        return CallStyle(brackets=("functools[", "]"))
    is_phi = "<|/tool_call|>" in template or "<|tool|>" in template
    return CallStyle(before="<|tool_call|>", brackets=_LIST, after="<|/tool_call|>" if is_phi else "")


def _json(template: str) -> JsonBody:
    return _PARAMETERS if '"parameters": {{' in template and '"arguments"' not in template else JsonBody()


_STYLES: dict[str, CallStyle | Callable[[str], CallStyle]] = {
    "hermes": _hermes,
    "llama": _llama,
    "mistral": _mistral,
    "cohere": CallStyle(
        before="<|START_ACTION|>",
        brackets=_LIST,
        body=JsonBody("tool_name", "parameters", id_key="tool_call_id"),
        after="<|END_ACTION|>",
    ),
    "command-r": CallStyle(
        before="Action: ```json",
        brackets=_LIST,
        body=JsonBody("tool_name", "parameters", is_indented=True),
        after="```",
    ),
    "deepseek": lambda template: _FENCED_DEEPSEEK if "```json" in template else _DEEPSEEK,
    "kimi": CallStyle(
        before="<|tool_calls_section_begin|>",
        opening="<|tool_call_begin|>functions.",
        body=NamedBody("<|tool_call_argument_begin|>", ":", "[0-9]{1,2}"),
        closing="<|tool_call_end|>",
        after="<|tool_calls_section_end|>",
    ),
    "bar-array": _bar_array,
    "gemma": CallStyle(opening="<|tool_call>", body=BracedBody('<|"|>'), closing="<tool_call|>"),
    "functiongemma": CallStyle(
        opening="<start_function_call>", body=BracedBody("<escape>"), closing="<end_function_call>"
    ),
    "lfm": CallStyle(before="<|tool_call_start|>", brackets=_LIST, body=PythonBody(), after="<|tool_call_end|>"),
    "olmo": CallStyle(before="<function_calls>", body=PythonBody(), between="\n", after="</function_calls>"),
    "atem": CallStyle(before="<atem:function_calls>", body=_INVOKE, after="</atem:function_calls>"),
    "harmony": CallStyle(
        opening="<|channel|>commentary to=functions.",
        body=NamedBody(" <|constrain|>json<|message|>"),
        is_single=True,
        thought=("<|channel|>analysis<|message|>", "<|end|><|start|>assistant"),
    ),
}


def call_style(family: str, template: str) -> CallStyle:
    """Give the style of a family's model by its template; JSON alone for those that have none."""
    found = _STYLES.get(family, BARE_CALL)
    return found if isinstance(found, CallStyle) else found(template)


def generic_style(opening: str, closing: str, template: str) -> CallStyle:
    """Give the style of a template that was only searched for what it writes before a call."""
    return CallStyle(opening=opening, body=_json(template), closing=closing, is_single=not closing)
