"""Calls written as markup, in three spellings, with untyped values.

<function=NAME><parameter=KEY>VALUE</parameter>…</function>
NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>…
<invoke name="NAME"><parameter name="KEY">VALUE</parameter>…</invoke>
"""

import re
from collections.abc import Iterable

from gateway.parse.block_calls import Calls, as_json
from gateway.parse.reader import NotACallError
from gateway.parse.tools import DeclaredTools
from gateway.parse.typed_value import typed_value

_FUNCTION = re.compile(r"<function=([^>\n]{1,256})>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]{1,256})>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)
_PAIR = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)(?:</arg_value>|(?=<arg_key>)|\Z)", re.DOTALL)
_INVOKE = re.compile(r'<(?:\w+:)?invoke name="([^"\n]{1,256})">(.*?)(?:</(?:\w+:)?invoke>|\Z)', re.DOTALL)
_NAMED = re.compile(r'<(?:\w+:)?parameter name="([^"\n]{1,256})"[^>]*>(.*?)</(?:\w+:)?parameter>', re.DOTALL)


def read_markup(block: str, tools: DeclaredTools) -> Calls:
    """Read the calls of a section.

    Raises:
        NotACallError: it is written in none of the spellings.
    """
    stripped = block.strip()
    if "<function=" in stripped:
        return [_call(m[1], _PARAMETER.findall(m[2]), tools) for m in _FUNCTION.finditer(stripped)]
    if "invoke name=" in stripped:
        return [_call(m[1], _NAMED.findall(m[2]), tools) for m in _INVOKE.finditer(stripped)]
    name = stripped.partition("<arg_key>")[0]
    if not name or "<" in name:
        raise NotACallError
    return [_call(name, _PAIR.findall(stripped), tools)]


def _call(name: str, pairs: Iterable[tuple[str, str]], tools: DeclaredTools) -> tuple[str, str]:
    name = name.strip()
    arguments = {key.strip(): typed_value(value, tools.schema(name, key.strip())) for key, value in pairs}
    return name, as_json(arguments)
