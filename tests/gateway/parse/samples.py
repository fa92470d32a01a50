"""Answers as models of each family write them, and what is in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.parse.choice import dialect_for
from gateway.parse.dialect import Dialect
from gateway.parse.events import CallArguments, CallClosed, CallOpened, Event, Text, Thought, ThoughtEnded
from gateway.parse.model_parser import parser_for
from gateway.parse.tools import DeclaredTools

TOOLS: tuple[dict[str, Any], ...] = (
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
        },
    },
    {"type": "function", "function": {"name": "now"}},
    {"type": "function", "function": {"name": "python"}},
)
DECLARED = DeclaredTools(TOOLS)

SIGNS = {
    "hermes": "<think></think><tool_call>",
    "llama": "<|start_header_id|><|python_tag|>",
    "mistral": "[TOOL_CALLS] [THINK][/THINK]",
    "cohere": "<|START_ACTION|>",
    "command-r": "Action: ```json",
    "deepseek": "<｜tool▁calls▁begin｜></think>",  # noqa: RUF001  # the token's own characters
    "kimi": "<|tool_call_argument_begin|>",
    "bar-array": "<|tool_call|><think></think><response></response>",
    "gemma": "<|tool_call><tool_call|>",
    "functiongemma": "<start_function_call>",
    "lfm": "<|tool_call_start|>",
    "olmo": "<function_calls></function_calls>",
    "atem": "<atem:function_calls>",
    "tool-code": "<start_of_turn>",
    "harmony": "<|start|><|channel|><|message|>",
    "bare": "",
    "generic": "{% if message.tool_calls %}<call>{{ '{' }}",
}
"""A template for each dialect: what it is told by."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is in an answer: adjacent pieces joined, calls in order."""

    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    unparsed: str = ""


def dialect_of(name: str) -> Dialect:
    """Give the dialect that a family's template leads to."""
    dialect = dialect_for(SIGNS[name])
    assert dialect.name == name
    return dialect


def events_of(
    dialect: Dialect, pieces: Sequence[str], *, tools: DeclaredTools = DECLARED, tail: str = ""
) -> list[Event]:
    """Parse an answer given in pieces."""
    parser = parser_for(dialect, tools, prompt_tail=tail)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return joined([*events, *parser.close()])


def joined(events: Sequence[Event]) -> list[Event]:
    """Join adjacent events of a kind."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        match last, event:
            case Text(), Text() if last.unparsed == event.unparsed:
                found[-1] = Text(last.text + event.text, event.unparsed)
            case Thought(), Thought():
                found[-1] = Thought(last.text + event.text)
            case CallArguments(), CallArguments() if last.index == event.index:
                found[-1] = CallArguments(event.index, last.text + event.text)
            case _:
                found.append(event)
    return found


def found_in(events: Sequence[Event]) -> Found:
    """Sum events up, as an answer that is given whole does."""
    found = Found()
    for event in events:
        match event:
            case Text(text, unparsed):
                marked = text if unparsed else ""
                found = Found(found.text + text, found.thinking, found.calls, found.unparsed + marked)
            case Thought(text):
                found = Found(found.text, found.thinking + text, found.calls, found.unparsed)
            case ThoughtEnded():
                found = Found("", found.text.strip(), found.calls, found.unparsed)
            case CallClosed(_, name, arguments):
                found = Found(found.text, found.thinking, (*found.calls, (name, arguments)), found.unparsed)
            case CallOpened() | CallArguments():
                pass
    return found


PARIS = ("get_weather", '{"city":"Paris"}')
OSLO = ("get_weather", '{"city":"Oslo"}')
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
NOT_JSON = '{"name": "get_weather", "arguments": {"city": Paris}}'
SEP = "<｜tool▁sep｜>"  # noqa: RUF001
BEGIN, END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"  # noqa: RUF001
ALL, OVER = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"  # noqa: RUF001

SAMPLES: tuple[tuple[str, str, Found], ...] = (
    ("hermes", "Hello", Found("Hello")),
    ("hermes", "<think>\nHm.\n</think>\n\nHello", Found("Hello", "Hm.")),
    ("hermes", "  \n<think>Hm.</think>Hello", Found("Hello", "Hm.")),
    ("hermes", "<think>never ends\n", Found("", "never ends")),
    ("hermes", "  leading space stays", Found("  leading space stays")),
    ("hermes", "<thin", Found("<thin")),
    ("hermes", "Later <think>is text</think>", Found("Later <think>is text</think>")),
    ("hermes", "<think>a</think>b</think>c", Found("b</think>c", "a")),
    ("hermes", "<think>half </thi", Found("", "half </thi")),
    ("hermes", "I thought.\n</think>\nHello", Found("Hello", "I thought.")),
    ("hermes", "The tag `</think>` ends it.", Found("The tag `</think>` ends it.")),
    ("hermes", f"<tool_call>\n{CALL}\n</tool_call>", Found(calls=(PARIS,))),
    (
        "hermes",
        (
            f"<think>\nHm.\n</think>\n\nI look. \n<tool_call>{CALL}</tool_call>\n<tool_call>"
            '{"arguments": {"city": "Oslo"}, "name": "get_weather"}</tool_call> Done.'
        ),
        Found("I look.Done.", "Hm.", (PARIS, OSLO)),
    ),
    ("hermes", f"<think>Hm.\n<tool_call>{CALL}</tool_call>", Found("", "Hm.", (PARIS,))),
    ("hermes", f"<tool_call>{CALL}", Found(calls=(PARIS,))),
    ("hermes", f"<tool_call>{CALL}\n{CALL}</tool_call>", Found(calls=(PARIS, PARIS))),
    ("hermes", '<tool_call>{"name": "now"}</tool_call>', Found(calls=(("now", "{}"),))),
    ("hermes", '<tool_call>{"get_weather": {"city": "Paris"}}</tool_call>', Found(calls=(PARIS,))),
    (
        "hermes",
        '<tool_call>{"type": "function", "function": {"name": "now", "parameters": "{\\"city\\": \\"Paris\\"}"}}',
        Found(calls=(("now", PARIS[1]),)),
    ),
    (
        "hermes",
        '<tool_call>{"name": "get_weather", "arguments": {"city": "a</tool_call>\nb \\u00e4 }"}}</tool_call>',
        Found(calls=(("get_weather", '{"city":"a</tool_call>\\u000ab \\u00e4 }"}'),)),
    ),
    (
        "hermes",
        f"<tool_call>{NOT_JSON}</tool_call> Sorry.",
        Found(f"<tool_call>{NOT_JSON}</tool_call>Sorry.", unparsed=f"<tool_call>{NOT_JSON}</tool_call>"),
    ),
    (
        "hermes",
        '<tool_call>{"name": "get_w',
        Found('<tool_call>{"name": "get_w', unparsed='<tool_call>{"name": "get_w'),
    ),
    (
        "hermes",
        '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
        Found(
            '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
            unparsed='<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
        ),
    ),
    (
        "hermes",
        (
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
            "</function>\n</tool_call>"
        ),
        Found(calls=(("get_weather", '{"city":"Paris","days":3}'),)),
    ),
    (
        "hermes",
        (
            "<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>1.5</arg_value>\n<arg_key>b</arg_key><arg_value>2</arg_value>"
            "</tool_call>"
        ),
        Found(calls=(("add", '{"a":1.5,"b":2}'),)),
    ),
    ("llama", '{"name": "get_weather", "parameters": {"city": "Paris"}}', Found(calls=(PARIS,))),
    (
        "llama",
        f'{CALL}; {{"name": "get_weather", "parameters": {{"city": "Oslo"}}}}',
        Found(calls=(PARIS, OSLO)),
    ),
    ("llama", '\n{"answer": 42, "name": "now"} is JSON', Found('\n{"answer": 42, "name": "now"} is JSON')),
    ("llama", '{"name": "Bob", "arguments": {}}', Found('{"name": "Bob", "arguments": {}}')),
    ("llama", '{"name": "get_weather", "par', Found('{"name": "get_weather", "par')),
    ("llama", 'See {"name": "now"}', Found('See {"name": "now"}')),
    ("llama", '<|python_tag|>get_weather.call(city="Paris")', Found(calls=(PARIS,))),
    ("llama", f"<|python_tag|>{CALL}", Found(calls=(PARIS,))),
    ("llama", "<|python_tag|>import os\nprint(1)", Found(calls=(("python", '{"code":"import os\\nprint(1)"}'),))),
    ("llama", '<function=get_weather>{"city": "Paris"}</function>', Found(calls=(PARIS,))),
    ("mistral", f"[TOOL_CALLS] [{CALL}, {CALL}]", Found(calls=(PARIS, PARIS))),
    (
        "mistral",
        '[THINK]Hm.[/THINK]Look: [TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]now[CALL_ID]x[ARGS]{}',
        Found("Look:", "Hm.", (PARIS, ("now", "{}"))),
    ),
    ("mistral", "[TOOL_CALLS] nothing {here", Found("[TOOL_CALLS] nothing {here", unparsed="[TOOL_CALLS]")),
    (
        "cohere",
        (
            '<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[\n{"tool_call_id": "0", "tool_name": "get_weather", '
            '"parameters": {"city": "Paris"}}\n]<|END_ACTION|>'
        ),
        Found("", "Hm.", (PARIS,)),
    ),
    ("cohere", "<|START_RESPONSE|>Hello<|END_RESPONSE|>", Found("Hello")),
    (
        "command-r",
        'Action: ```json\n[{"tool_name": "get_weather", "parameters": {"city": "Paris"}}]\n```',
        Found(calls=(PARIS,)),
    ),
    ("command-r", 'Action: ```json\n[{"tool_name": "directly_answer", "parameters": {}}]\n```Hi', Found("Hi")),
    (
        "deepseek",
        (
            f'<think>Hm.</think>{ALL}{BEGIN}function{SEP}get_weather\n```json\n{{"city": "Paris"}}\n```{END}\n'
            f'{BEGIN}get_weather{SEP}{{"city": "Oslo"}}{END}{OVER}'
        ),
        Found("", "Hm.", (PARIS, OSLO)),
    ),
    ("deepseek", f"{ALL}{BEGIN}now{SEP}{END}{OVER}", Found(calls=(("now", "{}"),))),
    (
        "kimi",
        (
            '<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city":"Paris"}'
            "<|tool_call_end|><|tool_calls_section_end|>"
        ),
        Found(calls=(PARIS,)),
    ),
    ("bar-array", f"<|tool_call|>[{CALL}]<|/tool_call|>", Found(calls=(PARIS,))),
    ("bar-array", f"functools[{CALL}]", Found(calls=(PARIS,))),
    ("bar-array", "<think>Hm.</think>\n<response>Hello</response>", Found("Hello", "Hm.")),
    (
        "gemma",
        '<|channel>thought\nHm.<channel|><|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:2}<tool_call|>',
        Found("", "Hm.", (("get_weather", '{"city":"Paris","days":2}'),)),
    ),
    (
        "functiongemma",
        "<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>",
        Found(calls=(PARIS,)),
    ),
    (
        "lfm",
        '<|tool_call_start|>[get_weather(city="Paris"), add(1, b=-2.5)]<|tool_call_end|>Done',
        Found("Done", calls=(PARIS, ("add", '{"a":1,"b":-2.5}'))),
    ),
    (
        "olmo",
        '<function_calls>get_weather(city="Paris")\nget_weather(city="Oslo")</function_calls>',
        Found(calls=(PARIS, OSLO)),
    ),
    (
        "olmo",
        "<function_calls>get_weather(city=open('x'))</function_calls>",
        Found(
            "<function_calls>get_weather(city=open('x'))</function_calls>",
            unparsed="<function_calls>get_weather(city=open('x'))</function_calls>",
        ),
    ),
    (
        "atem",
        (
            '<atem:function_calls><atem:invoke name="get_weather"><atem:parameter name="city">Paris</atem:parameter>'
            "</atem:invoke></atem:function_calls>"
        ),
        Found(calls=(PARIS,)),
    ),
    ("tool-code", '```tool_code\nget_weather(city="Paris")\n```', Found(calls=(PARIS,))),
    (
        "harmony",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi",
        Found("Hi", "Hm."),
    ),
    (
        "harmony",
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
            '<|constrain|>json<|message|>{"city": "Paris"}<|call|>'
        ),
        Found("", "Hm.", (PARIS,)),
    ),
    ("harmony", " to=functions.now<|channel|>commentary<|message|>{}", Found(calls=(("now", "{}"),))),
    ("harmony", "No header at all", Found("No header at all")),
    (
        "harmony",
        "<|channel|>commentary to=functions.get_weather<|message|>{oops<|call|>",
        Found("to=functions.get_weather {oops", unparsed="to=functions.get_weather {oops"),
    ),
    ("bare", f"[{CALL}]", Found(calls=(PARIS,))),
    ("bare", "[1, 2]", Found("[1, 2]")),
    ("bare", "[]", Found("[]")),
    ("generic", f"<call>{CALL}</call>", Found(calls=(PARIS,))),
)
