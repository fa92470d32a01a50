"""Model names: grammar, display forms and the inverse of parsing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidName
from registry.names import ModelName, match_ignoring_case, parse_name

hosts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,20}", fullmatch=True)
namespaces = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
models = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
names = st.builds(ModelName, hosts, namespaces, models, models)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("smollm2", "registry.ollama.ai/library/smollm2:latest"),
        ("smollm2:135m", "registry.ollama.ai/library/smollm2:135m"),
        ("ns/m", "registry.ollama.ai/ns/m:latest"),
        ("host:5000/ns/m:t", "host:5000/ns/m:t"),
        ("https://host/ns/m", "host/ns/m:latest"),
        ("hf.co/user/repo.GGUF:Q4_K_M", "hf.co/user/repo.GGUF:Q4_K_M"),
    ],
)
def test_parse_name_valid_text_fills_in_defaults(text: str, canonical: str) -> None:
    """Missing parts take their defaults."""
    assert parse_name(text).canonical == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "../x",
        "x:y:z",
        "/x",
        "smollm2:",
        ":t",
        "ns/",
        "ns//m",
        "a/b/c/d",
        "m@sha256",
        ".m",
        "-m",
        "n.s/m",
        "ü",
        "x" * 81,
        "m\n",
        "m:\n",
        "host/ns/m\0",
        "\u0661",
    ],
)
def test_parse_name_invalid_text_raises(text: str) -> None:
    """Everything outside the grammar is refused with the text that was given."""
    with pytest.raises(InvalidName) as caught:
        parse_name(text)
    assert caught.value.message == "invalid model name"
    assert caught.value.fields == {"name": text}


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("REGISTRY.ollama.AI/library/m", "m:latest"),
        ("registry.ollama.ai/ns/m:t", "ns/m:t"),
        ("other.host/library/m:t", "other.host/library/m:t"),
    ],
)
def test_shortest_name_keeps_only_what_differs_from_defaults(text: str, shortest: str) -> None:
    """Host and namespace are left out when they are the default, the tag never."""
    assert parse_name(text).shortest == shortest


@given(names)
@settings(max_examples=50)
def test_parse_name_inverts_both_display_forms(name: ModelName) -> None:
    """Canonical and shortest form parse back to the same name."""
    assert parse_name(name.canonical) == name
    again = parse_name(name.shortest)
    assert (again.namespace, again.model, again.tag) == (again.namespace, name.model, name.tag)
    assert again.canonical.lower() == name.canonical.lower()


@given(st.text(max_size=40) | names.map(lambda name: name.canonical))
@settings(max_examples=100)
def test_parse_name_any_text_stays_inside_the_store(text: str) -> None:
    """Whatever parses gives a relative path of four parts without a way out."""
    try:
        path = parse_name(text).path
    except InvalidName:
        return
    assert len(path.parts) == 4
    assert not path.is_absolute()
    assert not any(part.startswith(".") for part in path.parts)


def test_match_ignoring_case_takes_each_part_from_any_installed_name() -> None:
    """Parts are replaced independently; an exact spelling is preferred."""
    installed = [parse_name("NS/Model:Tag"), parse_name("ns/other:tag"), parse_name("Smol")]
    assert match_ignoring_case(parse_name("ns/MODEL:TAG"), installed).canonical == "registry.ollama.ai/ns/Model:Tag"
    assert match_ignoring_case(parse_name("smol"), installed).shortest == "Smol:latest"
    assert match_ignoring_case(parse_name("new:x"), installed).shortest == "new:x"
