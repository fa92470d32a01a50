"""The dialects of the families, and what in a template's text tells them.

The first entry of `FAMILIES` whose signs are all in the template is taken, so special forms stand before general ones.
Sources of the forms: the vendors' published chat templates.
"""

from dataclasses import replace

from gateway.parse.braced_block import QUOTES, read_braced
from gateway.parse.dialect import CallForm, Dialect, Tags, block_form, header_form, json_form, sniffed_form
from gateway.parse.header_calls import name_before, name_behind
from gateway.parse.json_calls import JsonCalls
from gateway.parse.markup_block import read_markup
from gateway.parse.python_block import read_code, read_python
from gateway.parse.sink import Sink

THINK = Tags("<think>", "</think>")
_SEPARATOR = "<｜tool▁sep｜>"  # noqa: RUF001  # the token's own characters
_CALL_END = "<｜tool▁call▁end｜>"  # noqa: RUF001
_CALLS_END = "<｜tool▁calls▁end｜>"  # noqa: RUF001


def _functools(sink: Sink, opening: str) -> JsonCalls:
    reader = JsonCalls(sink, opening.removesuffix("["))
    reader.feed("[")
    return reader


KNOWN_TAGS = (
    THINK,
    Tags("<thinking>", "</thinking>"),
    Tags("<reasoning>", "</reasoning>"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("[THINK]", "[/THINK]", is_anywhere=True),
    Tags("<|START_THINKING|>", "<|END_THINKING|>", is_anywhere=True),
    Tags("Here is my thought process:", "Here is my response:"),
)
"""Tags of thinking, in the order in which a template is searched for them."""

HERMES = Dialect(
    name="hermes",
    calls=(sniffed_form("<tool_call>", ("</tool_call>",), block_form("<tool_call>", ("</tool_call>",), read_markup)),),
)
"""ChatML models: Hermes, Qwen, GLM, Nemotron, Granite 4; what stands between the tags is JSON or markup."""

LLAMA = Dialect(
    name="llama",
    calls=(
        sniffed_form("<|python_tag|>", (), block_form("<|python_tag|>", (), read_code)),
        header_form("<function=", ("</function>", "<|eom_id|>", "<|eot_id|>"), name_before(">")),
    ),
    reads_bare_json=True,
)
MISTRAL = Dialect(
    name="mistral",
    calls=(sniffed_form("[TOOL_CALLS]", (), header_form("[TOOL_CALLS]", (), name_before("[CALL_ID]", "[ARGS]"))),),
    inner=("[CALL_ID]", "[ARGS]"),
)
COHERE = Dialect(
    name="cohere",
    thinking=(Tags("<|START_THINKING|>", "<|END_THINKING|>", is_anywhere=True),),
    calls=(json_form("<|START_ACTION|>", "<|END_ACTION|>"),),
    dropped=("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"),
)
COMMAND_R = Dialect(name="command-r", calls=(json_form("Action: ```json", "```"), json_form("Action:```json", "```")))
DEEPSEEK = Dialect(
    name="deepseek",
    calls=(
        header_form(
            "<｜tool▁call▁begin｜>",  # noqa: RUF001
            (_CALL_END, _CALLS_END),
            name_behind(_SEPARATOR),
        ),
    ),
    dropped=("<｜tool▁calls▁begin｜>", _CALLS_END),  # noqa: RUF001
    inner=(_SEPARATOR,),
)
KIMI = Dialect(
    name="kimi",
    calls=(
        header_form(
            "<|tool_call_begin|>",
            ("<|tool_call_end|>", "<|tool_calls_section_end|>"),
            lambda header: name_before("<|tool_call_argument_begin|>", ":")(header).removeprefix("functions."),
        ),
    ),
    dropped=("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    inner=("<|tool_call_argument_begin|>",),
)
BAR_ARRAY = Dialect(
    name="bar-array",
    calls=(json_form("<|tool_call|>", "<|/tool_call|>"), CallForm("functools[", _functools)),
)
"""Granite 3 and Phi 4: an array behind one token, or behind a word."""
GEMMA = Dialect(
    name="gemma",
    thinking=(Tags("<|channel>thought", "<channel|>", is_anywhere=True),),
    calls=(block_form("<|tool_call>", ("<tool_call|>",), read_braced),),
    dropped=("<channel|>", "<|channel>final"),
    inner=(QUOTES[0],),
    tokens=("<|channel>",),
)
FUNCTION_GEMMA = Dialect(
    name="functiongemma",
    calls=(block_form("<start_function_call>", ("<end_function_call>",), read_braced),),
    inner=(QUOTES[1],),
)
LFM = Dialect(name="lfm", calls=(block_form("<|tool_call_start|>", ("<|tool_call_end|>",), read_python),))
OLMO = Dialect(name="olmo", calls=(block_form("<function_calls>", ("</function_calls>",), read_python),))
ATEM = Dialect(name="atem", calls=(block_form("<atem:function_calls>", ("</atem:function_calls>",), read_markup),))
TOOL_CODE = Dialect(name="tool-code", calls=(block_form("```tool_code", ("```",), read_python),), reads_bare_json=True)
"""Gemma 3, whose template knows no tools: what its vendor's prompts teach it."""
HARMONY = Dialect(
    name="harmony",
    is_harmony=True,
    inner=(
        "<|start|>",
        "<|end|>",
        "<|message|>",
        "<|channel|>",
        "<|constrain|>",
        "<|call|>",
        "<|return|>",
    ),
)
BARE = Dialect(name="bare", reads_bare_json=True)
"""Nothing is known: an answer that is a call in JSON is one."""

FAMILIES: tuple[tuple[tuple[str, ...], Dialect], ...] = (
    (("<|channel|>", "<|message|>", "<|start|>"), HARMONY),
    (("<|tool_call>", "<tool_call|>"), GEMMA),
    (("<start_function_call>",), FUNCTION_GEMMA),
    (("<｜tool▁calls▁begin｜>",), DEEPSEEK),  # noqa: RUF001
    (("<|tool_call_argument_begin|>",), KIMI),
    (("<|START_ACTION|>",), COHERE),
    (("Action:", "```json"), COMMAND_R),
    (("<|tool_call_start|>",), LFM),
    (("<function_calls>", "</function_calls>"), OLMO),
    (("<atem:function_calls>",), ATEM),
    (("[TOOL_CALLS]",), MISTRAL),
    (("<tool_call>",), HERMES),
    (("<|tool_call|>",), BAR_ARRAY),
    (("functools[",), BAR_ARRAY),
    (("<|tool|>",), BAR_ARRAY),
    (("<|python_tag|>",), LLAMA),
    (("<|start_header_id|>",), LLAMA),
    (("<function=",), LLAMA),
    (("<start_of_turn>",), TOOL_CODE),
)

PARSERS: dict[str, Dialect] = {
    "qwen3": HERMES,
    "qwen3-thinking": replace(HERMES, thinking=(THINK,)),
    "qwen3-vl-instruct": HERMES,
    "qwen3-vl-thinking": replace(HERMES, thinking=(THINK,)),
    "qwen3-coder": HERMES,
    "qwen3.5": replace(HERMES, thinking=(THINK,)),
    "ornith": replace(HERMES, thinking=(THINK,)),
    "nemotron-3-nano": replace(HERMES, thinking=(THINK,)),
    "nemotron-3.5-nano": replace(HERMES, thinking=(THINK,)),
    "glm-4.7": replace(HERMES, thinking=(THINK,)),
    "glm-ocr": replace(HERMES, thinking=(THINK,)),
    "deepseek3": replace(DEEPSEEK, thinking=(THINK,)),
    "cogito": replace(DEEPSEEK, thinking=(THINK,)),
    "ministral": replace(MISTRAL, thinking=(Tags("[THINK]", "[/THINK]", is_anywhere=True),)),
    "olmo3": OLMO,
    "olmo3-think": Dialect(name="think", thinking=(THINK,)),
    "gemma4": GEMMA,
    "gemma4-no-thinking": GEMMA,
    "functiongemma": FUNCTION_GEMMA,
    "lfm2": LFM,
    "lfm2-thinking": replace(LFM, thinking=(THINK,)),
    "laguna": replace(HERMES, thinking=(THINK,), reads_bare_json=True),
    "poolside-v1": replace(HERMES, thinking=(THINK,), reads_bare_json=True),
    "cohere": COHERE,
    "glimmer": ATEM,
    "harmony": HARMONY,
    "passthrough": Dialect(name="passthrough"),
}
"""The dialects by the names that a Modelfile's PARSER may give."""
