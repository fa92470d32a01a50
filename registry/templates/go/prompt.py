"""From a conversation to a prompt through a Go template: which variables it gets, and how old templates are repeated.

A template is rendered in one of three modes. With a prompt and a suffix it fills in what is between them. A template
that mentions Messages gets the conversation. All others show one turn (System, Prompt, Response): they are rendered
once for each, and the last time only up to the response, where the model goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.templates.go.budget import Budget
from registry.templates.go.chat import Message, message_of, tools_of
from registry.templates.go.template import Template, compiled, compiled_up_to_response

_JOINT = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptValues:
    """What a template is rendered with.

    `messages` and `tools` are those of the native API; `think` is None when nothing was said about thinking.
    """

    messages: Sequence[Mapping[str, Any]] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    prompt: str = ""
    suffix: str = ""
    think: bool | str | None = None
    turns: bool = False
    """Whether the conversation is given turn by turn even to a template that mentions Messages."""


def render_prompt(text: str, values: PromptValues) -> str:
    """Render a conversation, or what is around a gap.

    Raises:
        TemplateFailed: the template has a syntax error, refused the values, or overran a bound.
    """
    template = compiled(text)
    thinking = _thinking(values.think)
    if values.prompt and values.suffix:
        return template.render({"Prompt": values.prompt, "Suffix": values.suffix, "Response": "", **thinking})
    messages = _merged(values.messages)
    if values.turns or "messages" not in template.names:
        return _turns(text, template, messages, thinking)
    system = _JOINT.join(message.get("content", "") for message in values.messages if message.get("role") == "system")
    tools = tools_of(values.tools)
    return template.render({"System": system, "Messages": messages, "Tools": tools, "Response": "", **thinking})


def _thinking(think: bool | str | None) -> dict[str, Any]:  # noqa: FBT001 - the wire's own type
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def _merged(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Join messages of one role that follow each other, except results of tools."""
    merged: list[Message] = []
    for each in messages:
        message = message_of(each)
        if merged and merged[-1]["Role"] == message["Role"] != "tool":
            merged[-1]["Content"] += _JOINT + message["Content"]
        else:
            merged.append(message)
    return merged


def _turns(text: str, template: Template, messages: Sequence[Message], thinking: Mapping[str, Any]) -> str:
    budget = Budget()
    parts: list[str] = []
    system = prompt = response = ""
    for message in messages:
        role, content = message["Role"], message["Content"]
        starts_turn = (role == "system" and (prompt or response)) or (role == "user" and response)
        if starts_turn:
            turn = {"System": system, "Prompt": prompt, "Response": response, **thinking}
            parts.append(template.render(turn, budget))
            system = prompt = response = ""
        if role == "system":
            system = content
        elif role == "user":
            prompt = content
        elif role == "assistant":
            response = content
    last = {"System": system, "Prompt": prompt, "Response": response, **thinking}
    parts.append(compiled_up_to_response(text).render(last, budget))
    return "".join(parts)
