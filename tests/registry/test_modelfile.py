"""Modelfiles: the grammar, its errors, and printing as the inverse of parsing."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidModelfile
from registry.modelfile import Modelfile, decode_modelfile, format_modelfile, parse_modelfile

_FULL = '''# a comment
FROM smollm2
PARAMETER temperature 0
parameter num_predict 12
PARAMETER stop "END"
PARAMETER stop # literal
SYSTEM """You are
a pirate."""
MESSAGE user hi
MESSAGE assistant arr
LICENSE MIT
'''


def test_parse_modelfile_everyday_file_gives_its_values() -> None:
    """Commands in any case, comments, quotes over lines, typed parameters."""
    parsed = parse_modelfile(_FULL)
    assert parsed.sources == ("smollm2",)
    assert parsed.parameters == {"temperature": 0, "num_predict": 12, "stop": ["END", "# literal"]}
    assert parsed.system == "You are\na pirate."
    assert parsed.messages == (("user", "hi"), ("assistant", "arr"))
    assert parsed.licenses == ("MIT",)
    assert parsed.template is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SYSTEM plain", "plain"),
        ("SYSTEM   spaced out \t", "spaced out"),
        ('SYSTEM "quoted"', "quoted"),
        ('SYSTEM "a" b', None),
        ('SYSTEM a "b" c', 'a "b" c'),
        ('SYSTEM "two\nlines"', "two\nlines"),
        ('SYSTEM """  kept  """', "  kept  "),
        ('SYSTEM """a "quoted" word"""', 'a "quoted" word'),
        ('SYSTEM """one\r\ntwo"""  ', "one\r\ntwo"),
        ('SYSTEM ""', ""),
        ('SYSTEM """"""', ""),
        ('SYSTEM """"', None),
        ('SYSTEM "', None),
        (r"SYSTEM a\nb", r"a\nb"),
        ("SYSTEM 'single'", "'single'"),
        ("SYSTEM zero\u200dwidth\u00a0gone\x07", "zerowidthgone"),
        ("SYSTEM ", ""),
        ('SYSTEM "a" b\nmore\n\nend"', 'a" b\nmore\n\nend'),
    ],
)
def test_parse_modelfile_value_quoting(line: str, value: str | None) -> None:
    """Quotes open only at the start and close only at a line's end; None stands for a quote that never closes."""
    if value is None:
        with pytest.raises(InvalidModelfile, match="unexpected EOF"):
            parse_modelfile(f"FROM x\n{line}")
    else:
        assert parse_modelfile(f"FROM x\n{line}").system == value
        assert parse_modelfile(f"{line}\nFROM x\n").system == value


_COMMAND_ERROR = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no FROM line"),
        ("PARAMETER temperature 0", "no FROM line"),
        ("FROM \nSYSTEM x", "no FROM line"),
        ("FROM smollm2\nWIBBLE x", f"(line 2): {_COMMAND_ERROR}"),
        ("FROM smollm2\r\nWIBBLE x", f"(line 3): {_COMMAND_ERROR}"),
        ("FROM\nx", f"(line 1): {_COMMAND_ERROR}"),
        ("FROM", f"(line 1): {_COMMAND_ERROR}"),
        ("FROM x\n\n5", f"(line 3): {_COMMAND_ERROR}"),
        ("FROM x\nMESSAGE wizard x", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nMESSAGE User x", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nMESSAGE  user x", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nMESSAGE user", "(line 2): message user needs a value"),
        ("FROM x\nPARAMETER  top_k 1", "unknown parameter ''"),
        ("FROM x\nPARAMETER wibble 1", "unknown parameter 'wibble'"),
        ("FROM x\nPARAMETER top_k x", "invalid int value [x]"),
        ("FROM x\nPARAMETER top_k 1.5", "invalid int value [1.5]"),
        ("FROM x\nPARAMETER temperature hot", "invalid float value [hot]"),
        ("FROM x\nPARAMETER temperature inf", "invalid float value [inf]"),
        ("FROM x\nPARAMETER temperature 1e99", "invalid float value [1e99]"),
        ("FROM x\nPARAMETER use_mmap yes", "invalid bool value [yes]"),
        ("FROM x\nREQUIRES new", "requires must be a valid semver (e.g. 0.14.0)"),
        ('FROM x\nSYSTEM """open', "unexpected EOF"),
    ],
)
def test_parse_modelfile_bad_text_raises_known_errors(text: str, error: str) -> None:
    """Each error has the text that people know."""
    with pytest.raises(InvalidModelfile) as caught:
        parse_modelfile(text)
    assert caught.value.message == error


def test_parse_modelfile_last_value_wins_and_lists_grow() -> None:
    """SYSTEM, TEMPLATE and their like are replaced, LICENSE, FROM and DRAFT add up."""
    parsed = parse_modelfile(
        "FROM a\nFROM b\nSYSTEM 1\nSYSTEM 2\nLICENSE x\nLICENSE y\nADAPTER 1\nADAPTER 2\nDRAFT d\nPARAMETER top_k 1\n"
        "PARAMETER top_k 2\nRENDERER r\nPARSER p\nREQUIRES v0.14.0\nPARAMETER use_mmap T\nPARAMETER low_vram true\n"
    )
    assert parsed == Modelfile(
        sources=("a", "b"),
        adapters=("2",),
        drafts=("d",),
        system="2",
        renderer="r",
        parser="p",
        requires="0.14.0",
        licenses=("x", "y"),
        parameters={"top_k": 2, "use_mmap": True},
        warnings=("parameter low_vram is deprecated",),
    )


def test_parse_modelfile_huge_open_value_takes_linear_time() -> None:
    """Many blank lines after an open quote do not make the scan quadratic."""
    with pytest.raises(InvalidModelfile, match="unexpected EOF"):
        parse_modelfile('FROM x\nSYSTEM "' + "\n" * 300_000)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_decode_modelfile_follows_its_byte_order_mark(encoding: str) -> None:
    """UTF-8 with and without mark, and UTF-16."""
    assert decode_modelfile("FROM é\n".encode(encoding)) == "FROM é\n"


def test_decode_modelfile_other_bytes_raise() -> None:
    """What is no text is refused with the place."""
    with pytest.raises(InvalidModelfile, match="at byte 5"):
        decode_modelfile(b"FROM \xff")


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(
    lambda word: word.isprintable() and '"' not in word
)
lines = st.lists(words, min_size=1, max_size=3).map(" ".join)
texts = st.lists(lines, min_size=1, max_size=3).map("\n".join)
parameters: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "top_k": st.integers(0, 100),
        "temperature": st.sampled_from([0, 0.1, 1, 1.5]),
        "stop": st.lists(lines, min_size=1, max_size=3),
        "use_mmap": st.booleans(),
    },
)
modelfiles = st.builds(
    Modelfile,
    sources=st.lists(words.filter(lambda word: not word.startswith("#")), min_size=1, max_size=2).map(tuple),
    template=st.none() | texts,
    system=st.none() | texts,
    licenses=st.lists(texts, max_size=2).map(tuple),
    parameters=parameters,
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), max_size=3).map(tuple),
)


@given(modelfiles)
@settings(max_examples=100)
def test_format_modelfile_is_undone_by_parsing(modelfile: Modelfile) -> None:
    """Values without quotes at odd places come back unchanged."""
    assert parse_modelfile(format_modelfile(modelfile)) == modelfile


@given(st.text(max_size=60) | st.lists(st.sampled_from(["FROM ", "x", '"', '"""', "\n", "SYSTEM ", " "])).map("".join))
@settings(max_examples=200)
def test_parse_modelfile_never_raises_anything_else(text: str) -> None:
    """Any text is a Modelfile or an InvalidModelfile."""
    with contextlib.suppress(InvalidModelfile):
        parse_modelfile(text)
