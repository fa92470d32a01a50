"""Which dialect a model speaks: by its PARSER, else by what its chat template writes.

A template of no known family is searched for what it writes before a call of the history; that announces calls, too.
Thinking tags that a template mentions are added to whatever family it is of.
"""

import re
from dataclasses import replace
from functools import lru_cache

from gateway.parse.call_styles import call_style, generic_style
from gateway.parse.dialect import Dialect, Tags, json_form
from gateway.parse.families import BARE, FAMILIES, KNOWN_TAGS, PARSERS

_CALLS_IN_HISTORY = re.compile(
    r"\{\{-?\s*(?:else\s+)?if\b[^}]*\.ToolCalls\b[^}]*\}\}|\{%-?\s*(?:el)?if\b[^%]*\btool_calls\b[^%]*%\}"
)
_ACTION = re.compile(r"(\{\{-?|\{%-?|\{#)(.*?)(?:-?\}\}|-?%\}|#\})", re.DOTALL)
_LITERAL = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)')""", re.DOTALL)
_DESCENDED = ("if", "range", "with", "for", "set", "else", "elif", "$")
_BRACKETS = ("{", "[")
_RESPONSE_TAGS = ("<response>", "</response>")


@lru_cache(maxsize=64)
def dialect_for(template: str, *, parser: str = "", thinking_tags: tuple[str, str] | None = None) -> Dialect:
    """Choose the dialect of a model.

    Args:
        template: the text of its chat template, of whichever engine; may be empty.
        parser: the name that its PARSER gives; an unknown one counts as none.
        thinking_tags: what its template writes around thinking, where that was found out otherwise.
    """
    dialect = PARSERS.get(parser) or _by_template(template, thinking_tags)
    return dialect if dialect.name == "generic" else replace(dialect, style=call_style(dialect.name, template))


def _by_template(template: str, thinking_tags: tuple[str, str] | None) -> Dialect:
    dialect = next((each for signs, each in FAMILIES if all(sign in template for sign in signs)), None)
    if dialect is None:
        dialect = _generic(call_prefix(template), template)
    if dialect.is_harmony or dialect.thinking:
        return dialect
    if all(tag in template for tag in _RESPONSE_TAGS):  # Granite wraps what follows its thinking
        dialect = replace(dialect, dropped=(*dialect.dropped, *_RESPONSE_TAGS))
    if thinking_tags is not None:
        return replace(dialect, thinking=(Tags(*thinking_tags),))
    found = next((tags for tags in KNOWN_TAGS if tags.closing in template), None)
    return dialect if found is None else replace(dialect, thinking=(found,))


def call_prefix(template: str) -> str:
    """Give the text that a template writes before a call of the history, up to its first brace; else "{"."""
    found = _CALLS_IN_HISTORY.search(template)
    position = found.end() if found else len(template)
    while position < len(template):
        action = _ACTION.search(template, position)
        literal = template[position : action.start() if action else len(template)].strip()
        if literal:
            return _cut(literal)
        if action is None:
            break
        quoted = _LITERAL.match(action[2]) if action[1].startswith("{{") else None
        if quoted:
            text = (quoted[1] or quoted[2] or "").replace("\\n", "\n").strip()
            if text:
                return _cut(text)
        elif action[1].startswith("{{") and not action[2].strip().startswith(_DESCENDED):
            break
        position = action.end()
    return "{"


def _cut(text: str) -> str:
    return text.partition("{")[0].strip() or "{"


def _generic(prefix: str, template: str) -> Dialect:
    if prefix.startswith(_BRACKETS) and prefix.rstrip("[{ ") == "":
        return BARE
    opening = prefix.rstrip("[{ ")
    tag = re.fullmatch(r"<(\|?)([^/<>|]+)(\|?)>", opening)
    closings = (f"<{tag[1]}/{tag[2]}{tag[3]}>",) if tag else ()
    style = generic_style(opening, "".join(closings), template)
    return Dialect(name="generic", calls=(json_form(opening, *closings),), reads_bare_json=True, style=style)
