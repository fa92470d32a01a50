"""Go templates: what they print, what they refuse, and that none hangs or exhausts a process."""

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import TemplateFailed
from registry.templates.go.parser import parse
from registry.templates.go.template import Template, compiled
from registry.templates.go.tokens import LONGEST_TEMPLATE

VALUES: dict[str, Any] = {
    "s": "héllo <b>",
    "n": 1000000.0,
    "i": 7,
    "t": True,
    "nil": None,
    "l": [1, "a", None, [2.5]],
    "m": {"b": 1, "a": {"x": "y"}},
}


def render(text: str, **values: Any) -> str:
    """Render a text alone, without a response put behind it."""
    return Template(parse(text)).render(VALUES | values)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a {{- ` b ` -}} c", "a b c"),
        ("{{/* gone }} */ -}} x{{- /* gone */}}", "x"),
        ("{{ .s }} {{ .n }} {{ .i }} {{ .t }} {{ .nil }} {{ .missing }} {{ .missing.more }}",
         "héllo <b> 1e+06 7 true <no value> <no value> <no value>"),
        ("{{ .l }} {{ .m }}", "[1 a <nil> [2.5]] map[a:map[x:y] b:1]"),
        ("{{ print .nil 1 2 `x` 3 }}|{{ println .i `x` }}", "<nil> 1 2x3|7 x\n"),
        ("{{ range $k, $v := .m }}{{ $k }}={{ $v }};{{ end }}", "a=map[x:y];b=1;"),
        ("{{ range .missing }}x{{ else }}none{{ end }}", "none"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range $i, $e := .l }}{{ if eq $i 1}}{{continue}}{{else if $i | eq 3 }}{{break}}{{end}}{{$i}}{{end}}",
         "02"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ $x }}{{ end }}{{ $x }}", "32"),
        ("{{ with .m.a }}{{ .x }}{{ $.i }}{{ else with .s }}no{{ end }}", "y7"),
        ("{{ with .missing }}{{ else with .s }}{{ . }}{{ end }}", "héllo <b>"),
        ("{{ if .missing }}a{{ else if .t }}b{{ else }}c{{ end }}", "b"),
        ('{{ define "T" }}<{{ . }}{{ $ }}>{{ end }}{{ template "T" .i }}{{ template "T" }}',
         "<77><<no value><no value>>"),
        ('{{ block "B" .m.a }}{{ .x }}{{ end }}', "y"),
        ("{{ len .s }} {{ slice .s 0 3 }} {{ slice .s 3 }} {{ index .s 1 }} {{ slice .l 1 2 }}",
         "10 hé llo <b> 195 [a]"),
        ("{{ slice .s 0 2 }}", "h\ufffd"),
        ("{{ index .l 3 0 }} {{ index .m `a` `x` }} {{ index .m `none` }}", "2.5 y <no value>"),
        ("{{ and .t 0 }} {{ or 0 `` `x` }} {{ not .nil }} {{ .i | and 0 }}", "0 x true 0"),
        ("{{ eq .i 6 7 }} {{ ne .s `x` }} {{ lt 1 2 }} {{ ge `b` `a` }} {{ eq .nil .missing }}",
         "true true true true true"),
        ("{{ json .m }} {{ json .s }} {{ json .n }} {{ json .l }}",
         r'{"a":{"x":"y"},"b":1} "héllo \u003cb\u003e" 1000000 [1,"a",null,[2.5]]'),
        ("{{ html .s }} {{ js `<'=\n` }} {{ urlquery `a b&c` }}", r"héllo &lt;b&gt; \u003C\'\u003D\u000A a+b%26c"),
        ("{{ 0x1F }} {{ 017 }} {{ 'a' }} {{ 1e3 }} {{ 1_000 }} {{ .5 }} {{ `raw\\n` }} {{ \"\\u00e9\\x41\\101\" }}",
         "31 15 97 1000 1000 0.5 raw\\n éAA"),
        ("{{ printf `%d|%5d|%-5s|%05.1f|%q|%x|%t|%v|%%` 1 2 `ab` 3.14159 `q` 255 true .l }}",
         '1|    2|ab   |003.1|"q"|ff|true|[1 a <nil> [2.5]]|%'),
        ("{{ printf `%d %s` `a` }}", "%!d(string=a) %!s(MISSING)"),
        ("{{ printf `%[2]v %[1]v` 1 2 }} {{ printf `x` 1 }} {{ printf `%` }}", "2 1 x%!(EXTRA int=1) %!(NOVERB)"),
        ("{{ printf `%*d|%+d|% d|%#x|%e|%g|%6.2f|%.2s` 4 7 7 7 255 1.5 1e21 2.345 `abc` }}",
         "   7|+7| 7|0xff|1.500000e+00|1e+21|  2.35|ab"),
    ],
)  # fmt: skip
def test_render_prints_what_go_prints(text: str, printed: str) -> None:
    """Each was compared with Go 1.26."""
    assert render(text) == printed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\n{{ .s.x }}", "template: :2: can't evaluate field x in type string"),
        ("{{ .l.x }}", "template: :1: can't evaluate field x in type []interface {}"),
        ("{{ range .s }}{{ end }}", "range can't iterate over héllo <b> of type string"),
        ("{{ len .missing }}", "error calling len: len of nil pointer"),
        ("{{ slice .l 5 }}", "error calling slice: index out of range: 5"),
        ("{{ index .l -1 }}", "error calling index: index out of range: -1"),
        ("{{ eq .s 1 }}", "error calling eq: incompatible types for comparison"),
        ("{{ lt .s nil }}", "error calling lt: invalid type for comparison"),
        ("{{ eq .l .l }}", "error calling eq: non-comparable type []interface {}"),
        ("{{ len 1 2 }}", "wrong number of args for len: want 1 got 2"),
        ("{{ .s 1 }}", "can't give argument to non-function .s"),
        ("{{ nil }}", "nil is not a command"),
        ('{{ template "none" }}', 'template "none" not defined'),
        ("{{ call .s }}", "error calling call: non-function of type string"),
        ("{{ printf 1 }}", "wrong type for value; expected string; got int"),
    ],
)
def test_render_value_that_does_not_fit_is_named_with_its_line(text: str, reason: str) -> None:
    """The reason is Go's, with the line of the action."""
    with pytest.raises(TemplateFailed) as caught:
        render(text)
    assert reason in str(caught.value.fields["reason"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ .X", "template: :1: unclosed action"),
        ("a\n{{ if .X }}\n", "template: :3: unexpected EOF"),
        ("\n{{ else }}", "template: :2: unexpected {{else}}"),
        ("{{ if .X }}{{ else }}{{ else }}{{ end }}", "template: :1: expected end; found {{else}}"),
        ("{{ foo }}", 'template: :1: function "foo" not defined'),
        ("{{ \n .X | 3 }}", "template: :2: non executable command in pipeline stage 2"),
        ("{{ $x }}", 'template: :1: undefined variable "$x"'),
        ('{{ "a\n }}', "template: :1: unterminated quoted string"),
        ("{{ if }}{{end}}", "template: :1: missing value for if"),
        ("{{/* a", "template: :1: unclosed comment"),
        ("{{/* a */ }}", "template: :1: comment ends before closing delimiter"),
        ("{{ (.X }}", "template: :1: unclosed left paren"),
        ("{{ break }}", "template: :1: {{break}} outside {{range}}"),
        ("{{ 1a }}", 'template: :1: bad number syntax: "1a"'),
        ("{{ 1e999 }}", 'template: :1: bad number syntax: "1e999"'),
        ("{{ " + "9" * 5000 + " }}", f"template: :1: {'9' * 1000} overflows int"),
        ("{{ .X.1 }}", 'template: :1: unexpected ".1" in operand'),
        ("{{ range $a, $b, $c := .X }}{{end}}", "template: :1: too many declarations in range"),
        ("{{ 'ab' }}", "template: :1: malformed character constant: 'ab'"),
        ("{{ é# }}", "template: :1: bad character U+0023 '#'"),
        ("{{ range .X }}" * 101 + "{{ end }}" * 101, "template: :1: blocks are nested deeper than 100"),
        ("{{ " + "(" * 101 + "1" + ")" * 101 + " }}", "template: :1: max expression depth exceeded"),
        ("{{ if .X }}" + "{{ else if .X }}" * 101 + "{{ end }}", "template: :1: blocks are nested deeper than 100"),
        ("x" * (LONGEST_TEMPLATE + 1), f"template: :1: the template is longer than {LONGEST_TEMPLATE} characters"),
    ],
)
def test_parse_syntax_error_is_named_as_go_names_it(text: str, reason: str) -> None:
    """The line is that of the token at fault."""
    with pytest.raises(TemplateFailed) as caught:
        parse(text)
    assert caught.value.fields["reason"] == reason


@pytest.mark.parametrize(
    "text",
    [
        "{{ range .big }}{{ range $.big }}{{ range $.big }}x{{ end }}{{ end }}{{ end }}",
        "{{ range 1000000000 }}{{ end }}",
        '{{ define "T" }}{{ template "T" . }}{{ template "T" . }}{{ end }}{{ template "T" . }}',
        "{{ $x := `0123456789abcdef` }}{{ range .big }}{{ $x = print $x $x }}{{ end }}",
        "{{ $x := `0123456789abcdef` }}{{ range 18 }}{{ $x = print $x $x }}{{ end }}{{ range .big }}{{ $x }}{{ end }}",
        "{{ range .big }}{{ printf `%1000000d` 1 }}{{ end }}",
        "{{ range .big }}{{ range $.big }}{{ json $.big }}{{ end }}{{ end }}",
        "{{ $x := .big }}{{ range .big }}{{ range $.big }}{{ $x = slice $.big 1 }}{{ end }}{{ end }}",
        "{{ json .deep }}",
        "{{ .deep }}",
    ],
)
def test_render_hostile_template_ends_in_an_error(text: str) -> None:
    """Nested loops, endless recursion, doubling, width and depth are all bounded."""
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(TemplateFailed):
        render(text, big=["x" * 50] * 2000, deep=deep)


def test_compiled_without_messages_or_response_gets_the_response() -> None:
    """What shows neither shows the response at its end."""
    assert compiled("{{ .Prompt }}:").render({"Prompt": "p", "Response": "r"}) == "p:r"
    assert compiled("{{ .Response }}{{ .Prompt }}").render({"Prompt": "p", "Response": "r"}) == "rp"


def test_dates_are_today_and_yesterday() -> None:
    """In local time; arguments are ignored. Run at midnight, the day before is as good."""
    today = datetime.now().astimezone().date()
    days = {today - timedelta(days=1): today - timedelta(days=2), today: today - timedelta(days=1)}
    shown = render("{{ currentDate }} {{ yesterdayDate `x` }}")
    assert shown in {f"{day.isoformat()} {before.isoformat()}" for day, before in days.items()}


_PIECES = [
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "if ",
    "range ",
    "end",
    "else",
    ".s",
    ".l",
    "$x",
    " := ",
    "(",
    ")",
    '"',
    "|",
    "len ",
    "9" * 5000,
    '"%[',
    "]d",
]


@given(st.text(max_size=40) | st.lists(st.sampled_from([*_PIECES, "printf `%v` ", "1", " ", "a"])).map("".join))
@settings(max_examples=300, deadline=None)
def test_render_any_text_renders_or_is_refused(text: str) -> None:
    """Nothing but text or TemplateFailed comes out."""
    with contextlib.suppress(TemplateFailed):
        assert isinstance(render(text), str)
