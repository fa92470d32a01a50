"""Tests of `run` with a prompt or a pipe."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Result
from tests.cli.double import Double

Actorctl = Callable[..., Result]

_FINAL = {
    "model": "m",
    "response": "",
    "done": True,
    "done_reason": "stop",
    "total_duration": 170_842_589,
    "load_duration": 1_261_472,
    "prompt_eval_count": 35,
    "prompt_eval_duration": 13_544_000,
    "eval_count": 12,
    "eval_duration": 151_563_000,
}


@pytest.fixture
def model(server: Double) -> Double:
    """Serve a model that always says the same."""
    server.replies["POST /api/show"] = (200, [{"capabilities": ["completion"], "details": {}}])
    server.replies["POST /api/generate"] = (200, [{"response": "Hi, "}, {"response": "sailor"}, _FINAL])
    return server


def test_run_with_prompt_streams_the_answer(model: Double, actorctl: Actorctl) -> None:
    """The words are joined, and the answer ends with an empty line."""
    assert actorctl("run", "m", "Say", "hi") == Result(0, "Hi, sailor\n\n", "")
    assert model.asked("POST /api/generate") == [{"model": "m", "prompt": "Say hi"}]


def test_run_puts_piped_text_before_the_prompt(model: Double, actorctl: Actorctl) -> None:
    """`cat file | actorctl run m summarise` asks about the file."""
    actorctl("run", "m", "in short", stdin="A long text.\n")
    assert model.asked("POST /api/generate")[0]["prompt"] == "A long text.\n in short"


def test_run_passes_its_flags_on(model: Double, actorctl: Actorctl) -> None:
    """Keep-alive, format and thinking reach the request; a bare --think takes no word of the prompt."""
    schema = '{"type": "object"}'
    actorctl("run", "m", "--keepalive", "1m", "--format", schema, "--think", "why", "--nowordwrap", "--insecure")
    assert model.asked("POST /api/generate") == [
        {"model": "m", "keep_alive": "1m", "format": {"type": "object"}, "think": True, "prompt": "why"}
    ]


def test_run_verbose_prints_the_statistics(model: Double, actorctl: Actorctl) -> None:
    """Counts and durations, aligned, on standard error."""
    result = actorctl("run", "m", "--verbose", "hi")
    assert model.requests
    assert result.err == (
        "total duration:       170.842589ms\n"
        "load duration:        1.261472ms\n"
        "prompt eval count:    35 token(s)\n"
        "prompt eval duration: 13.544ms\n"
        "prompt eval rate:     2584.17 tokens/s\n"
        "eval count:           12 token(s)\n"
        "eval duration:        151.563ms\n"
        "eval rate:            79.17 tokens/s\n"
    )


def test_run_of_a_thinking_model_frames_the_thinking(model: Double, actorctl: Actorctl) -> None:
    """Thinking is asked for where the model can, and set apart from the answer."""
    model.replies["POST /api/show"] = (200, [{"capabilities": ["completion", "thinking"]}])
    model.replies["POST /api/generate"] = (200, [{"response": "", "thinking": "Hm."}, {"response": "Yes."}, _FINAL])
    assert actorctl("run", "m", "q").out == "Thinking...\nHm.\n...done thinking.\n\nYes.\n\n"
    assert actorctl("run", "m", "--hidethinking", "q").out == "Yes.\n\n"
    assert model.asked("POST /api/generate")[0]["think"] is True


def test_run_of_a_model_that_cannot_be_pulled_says_why(server: Double, actorctl: Actorctl) -> None:
    """The registry's reason is the command's."""
    server.replies["POST /api/show"] = (404, [{"error": "model 'nope:1b' not found"}])
    server.replies["POST /api/pull"] = (200, [{"status": "pulling manifest"}, {"error": "file does not exist"}])
    result = actorctl("run", "nope:1b", "hello")
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines() == ["pulling manifest", "Error: file does not exist"]


def test_run_that_is_refused_shows_status_and_reason(model: Double, actorctl: Actorctl) -> None:
    """A refusal before the first word carries its HTTP status, as people know it."""
    model.replies["POST /api/generate"] = (400, [{"error": '"m" does not support thinking'}])
    assert actorctl("run", "m", "--think", "x").err == 'Error: 400 Bad Request: "m" does not support thinking\n'


def test_run_that_breaks_off_keeps_what_came_before(model: Double, actorctl: Actorctl) -> None:
    """An error in mid-answer is told after the words that arrived."""
    model.replies["POST /api/generate"] = (200, [{"response": "Half"}, {"error": "model runner has stopped"}])
    result = actorctl("run", "m", "x")
    assert (result.status, result.out, result.err) == (1, "Half", "Error: model runner has stopped\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--keepalive", "abc", "hi"), 'time: invalid duration "abc"'),
        (("--keepalive", "5", "hi"), 'time: missing unit in duration "5"'),
        (("--think=sometimes", "hi"), 'invalid value for --think: "sometimes"'),
        (("--format", "{oops", "hi"), "invalid format:"),
    ],
)
def test_run_with_bad_flag_fails_before_asking(
    model: Double, actorctl: Actorctl, arguments: tuple[str, ...], error: str
) -> None:
    """What is wrong with the command line is told at once."""
    result = actorctl("run", "m", *arguments)
    assert result.status == 1
    assert result.err.startswith(f"Error: {error}")
    assert model.requests == []


def test_run_as_json_prints_the_final_object(model: Double, actorctl: Actorctl) -> None:
    """Programs get the whole answer as one object."""
    reply: dict[str, Any] = _FINAL | {"response": "Hi, sailor"}
    model.replies["POST /api/generate"] = (200, [reply])
    assert json.loads(actorctl("run", "m", "--json", "hi").out) == reply
    assert model.asked("POST /api/generate")[0]["stream"] is False


def test_run_of_an_embedding_model_prints_the_vector(server: Double, actorctl: Actorctl) -> None:
    """An embedding model answers with numbers, and needs something to embed."""
    server.replies["POST /api/show"] = (200, [{"capabilities": ["embedding"]}])
    server.replies["POST /api/embed"] = (200, [{"embeddings": [[-0.06288019, 0.5]]}])
    assert actorctl("run", "minilm", "hello").out == "[-0.06288019,0.5]\n"
    assert actorctl("run", "minilm").err == "Error: embedding models require input text\n"
