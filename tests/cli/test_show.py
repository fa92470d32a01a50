"""Tests of `show` and of the layout of descriptions."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.cli.description import format_value
from tests.cli.conftest import Result
from tests.cli.double import Double

Actorctl = Callable[..., Result]

REPLY: dict[str, Any] = {
    "license": "MIT",
    "modelfile": "FROM x\n",
    "parameters": f'{"stop":<31}"END"\n{"temperature":<31}0\n{"num_predict":<31}12',
    "template": "{{ .Prompt }}",
    "system": "You are\na pirate.",
    "details": {"family": "llama", "parameter_size": "134.52M", "quantization_level": "Q4_1"},
    "model_info": {
        "general.architecture": "llama",
        "general.languages": ["en"],
        "general.parameter_count": 134515008,
        "llama.attention.layer_norm_rms_epsilon": 1e-05,
        "llama.context_length": 8192,
        "llama.embedding_length": 576,
    },
    "tensors": [{"name": "output_norm.weight", "type": "F32", "shape": [576]}],
    "capabilities": ["completion"],
}

_WHOLE = """\
  Model
    architecture        llama      
    parameters          134.52M    
    context length      8192       
    embedding length    576        
    quantization        Q4_1       

  Capabilities
    completion    

  Parameters
    stop           "END"    
    temperature    0        
    num_predict    12       

  System
    You are      
    a pirate.    

  License
    MIT    

"""  # noqa: W291 - cells are padded, also the last one


def test_show_lays_out_the_description_that_people_know(server: Double, actorctl: Actorctl) -> None:
    """Blocks, indents and paddings are those of Ollama's command line."""
    server.replies["POST /api/show"] = (200, [REPLY])
    assert actorctl("show", "pirate") == Result(0, _WHOLE, "")


def test_show_verbose_adds_metadata_and_tensors(server: Double, actorctl: Actorctl) -> None:
    """The server is asked for everything, and values print as they do in Go."""
    server.replies["POST /api/show"] = (200, [REPLY])
    out = actorctl("show", "pirate", "-v").out
    assert "    general.parameter_count                   1.34515008e+08    \n" in out
    assert "    llama.attention.layer_norm_rms_epsilon    1e-05             \n" in out
    assert "    output_norm.weight    F32    [576]    \n" in out
    assert server.asked("POST /api/show") == [{"model": "pirate", "verbose": True}]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--license", "MIT\n"),
        ("--modelfile", "FROM x\n\n"),
        ("--system", "You are\na pirate."),
        ("--template", "{{ .Prompt }}"),
        ("--parameters", REPLY["parameters"] + "\n"),
    ],
)
def test_show_with_a_flag_prints_that_text_only(server: Double, actorctl: Actorctl, flag: str, expected: str) -> None:
    """System message and template come without a line break of ours."""
    server.replies["POST /api/show"] = (200, [REPLY])
    assert actorctl("show", "pirate", flag).out == expected


def test_show_with_two_flags_is_refused(server: Double, actorctl: Actorctl) -> None:
    """Only one text can be asked for."""
    result = actorctl("show", "pirate", "--system", "--template")
    assert result.err == (
        "Error: only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified\n"
    )
    assert (result.status, server.requests) == (1, [])


def test_show_as_json_is_the_servers_answer(server: Double, actorctl: Actorctl) -> None:
    """Programs get everything."""
    server.replies["POST /api/show"] = (200, [REPLY])
    assert json.loads(actorctl("show", "pirate", "--json").out) == REPLY


def test_show_of_long_texts_cuts_them_after_two_lines(server: Double, actorctl: Actorctl) -> None:
    """A licence does not fill the screen."""
    server.replies["POST /api/show"] = (200, [{"license": "one\n\ntwo\nthree", "capabilities": []}])
    assert actorctl("show", "m").out == "  License\n    one    \n    two    \n    ...    \n\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (9, "9"),
        (100000, "100000"),
        (1_000_000, "1e+06"),
        (0.5, "0.5"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.0, "1"),
        (True, "true"),
        (None, "<nil>"),
        (["en"], "[en]"),
        (["<unk>", "<s>", "</s>", "a"], "[<unk>, <s>, ...+2 more]"),
        ("x", "x"),
    ],
)
def test_format_value_reads_as_in_go(value: Any, expected: str) -> None:
    """Numbers, booleans and arrays print as users of Ollama see them."""
    assert format_value(value) == expected
