"""The environment as settings."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from actors.settings import FOREVER_S, settings_from, split_host

NUMBERS = ("OLLAMA_NUM_PARALLEL", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_MAX_QUEUE", "OLLAMA_CONTEXT_LENGTH")
DURATIONS = (
    *("OLLAMA_KEEP_ALIVE", "OLLAMA_LOAD_TIMEOUT"),
    *("LLAMACTOR_DRAIN_TIMEOUT", "LLAMACTOR_QUEUE_TIMEOUT", "LLAMACTOR_STEP_TIMEOUT"),
)


def test_defaults_are_ollamas() -> None:
    """An empty environment gives what users of Ollama expect."""
    found = settings_from({})
    assert (found.host, found.port) == ("127.0.0.1", 11434)
    assert found.models == Path.home() / ".ollama" / "models"
    assert found.keep_alive_s == 300
    assert found.max_queue == 512
    assert found.num_parallel is None
    assert found.context_length is None
    assert not found.debug


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 11434),
        ("0.0.0.0", "0.0.0.0", 11434),
        (":56789", "127.0.0.1", 56789),
        ("1.2.3.4:5", "1.2.3.4", 5),
        ("example.com:8080/path", "example.com", 8080),
        ("http://1.2.3.4", "1.2.3.4", 80),
        ("https://1.2.3.4", "1.2.3.4", 443),
        ("https://1.2.3.4:1", "1.2.3.4", 1),
        ("http://", "127.0.0.1", 80),
        ("[::1]", "::1", 11434),
        ("[::1]:1337", "::1", 1337),
        ("::1", "::1", 11434),
        ("1.2.3.4:66000", "1.2.3.4", 11434),
        ("1.2.3.4:-1", "1.2.3.4", 11434),
        ("1.2.3.4:http", "1.2.3.4", 11434),
        ("https://1.2.3.4:http", "1.2.3.4", 443),
        ("1.2.3.4:0", "1.2.3.4", 0),
    ],
)
def test_split_host_reads_all_forms(text: str, host: str, port: int) -> None:
    """A bad port falls back to the default, as in Ollama."""
    assert split_host(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "keep_alive_s"),
    [("10m", 600), ("300", 300), ("0", 0), ("-1", FOREVER_S), ("-1m", FOREVER_S), ("soon", 300), ("--5", 300)],
)
def test_keep_alive_is_a_duration_or_seconds(text: str, keep_alive_s: float) -> None:
    """Negative means forever, and nonsense means the default."""
    assert settings_from({"OLLAMA_KEEP_ALIVE": text}).keep_alive_s == keep_alive_s


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["-1", "x", "1.5", "9" * 5000, "²", ""])
def test_bad_number_is_the_default(name: str, text: str) -> None:
    """A mistake is reported in the log; it does not keep the server from starting."""
    assert settings_from({name: text}) == settings_from({})


@pytest.mark.parametrize(
    ("text", "debug"), [("1", True), ("true", True), ("yes", True), ("0", False), ("False", False)]
)
def test_flag_is_true_but_for_gos_false_words(text: str, debug: bool) -> None:  # noqa: FBT001 - a parameter
    """Any other text switches it on."""
    assert settings_from({"OLLAMA_DEBUG": text}).debug is debug


def test_values_are_trimmed_of_blanks_and_quotes() -> None:
    """Files of environment variables often carry both."""
    found = settings_from({"OLLAMA_HOST": " '1.2.3.4:5' ", "OLLAMA_NUM_PARALLEL": '"4"'})
    assert (found.host, found.port, found.num_parallel) == ("1.2.3.4", 5, 4)


@pytest.mark.parametrize(
    ("environ", "run_dir"),
    [
        ({"LLAMACTOR_RUN_DIR": "/a", "RUNTIME_DIRECTORY": "/b", "XDG_RUNTIME_DIR": "/c"}, "/a"),
        ({"RUNTIME_DIRECTORY": "/b:/b2", "XDG_RUNTIME_DIR": "/c"}, "/b"),
        ({"XDG_RUNTIME_DIR": "/c", "OLLAMA_HOST": ":99"}, "/c/llamactor-99"),
    ],
)
def test_run_dir_is_ours_then_systemds_then_the_sessions(environ: dict[str, str], run_dir: str) -> None:
    """Two servers of one user differ by their port."""
    found = settings_from(environ)
    assert found.run_dir == Path(run_dir)
    assert found.scheduler_endpoint == f"ipc://{run_dir}/scheduler.sock"


def test_run_dir_that_is_too_long_for_sockets_names_the_remedy() -> None:
    """The kernel ends a socket's path at 107 bytes; better said now than by a failing bind."""
    with pytest.raises(InvalidRequest, match="LLAMACTOR_RUN_DIR"):
        settings_from({"LLAMACTOR_RUN_DIR": "/tmp/" + "x" * 70})


def test_models_without_a_home_folder_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run as users that exist nowhere."""
    with pytest.raises(InvalidRequest, match="OLLAMA_MODELS"):
        settings_from({"OLLAMA_MODELS": "~nobody-of-this-name/models"})
    monkeypatch.setenv("HOME", "/somewhere")
    assert settings_from({"OLLAMA_MODELS": "~/m"}).models == Path("/somewhere/m")


@given(st.dictionaries(st.sampled_from(["OLLAMA_HOST", *NUMBERS, *DURATIONS]), st.text(max_size=10)))
@settings(max_examples=200, deadline=None)
def test_any_environment_gives_settings_in_their_bounds(environ: dict[str, str]) -> None:
    """No text in these variables keeps the server from starting."""
    found = settings_from(environ)
    assert 0 <= found.port <= 65535
    assert 0 <= found.keep_alive_s <= FOREVER_S
    assert found.drain_timeout_s >= 0
    assert found.max_queue > 0


def test_kv_cache_settings_are_read() -> None:
    """Names in any case, truth values as Go writes them, and nothing at all."""
    found = settings_from(
        {"OLLAMA_KV_CACHE_TYPE": "Q8_0", "OLLAMA_FLASH_ATTENTION": "1", "LLAMACTOR_KV_ON_DEVICE": "f"}
    )
    assert (found.kv_cache_type, found.flash_attention, found.kv_on_device) == ("q8_0", True, False)
    found = settings_from({"OLLAMA_FLASH_ATTENTION": "false"})
    assert (found.kv_cache_type, found.flash_attention, found.kv_on_device) == (None, False, True)
    assert settings_from({}).flash_attention is None


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OLLAMA_KV_CACHE_TYPE": "q9"}, "OLLAMA_KV_CACHE_TYPE: 'q9' is none of f32, f16"),
        ({"OLLAMA_FLASH_ATTENTION": "perhaps"}, "OLLAMA_FLASH_ATTENTION"),
        ({"LLAMACTOR_KV_ON_DEVICE": "2"}, "LLAMACTOR_KV_ON_DEVICE"),
        ({"OLLAMA_KV_CACHE_TYPE": "q4_0", "OLLAMA_FLASH_ATTENTION": "0"}, "needs flash attention"),
    ],
)
def test_kv_cache_settings_wrong_value_ends_the_start(environ: dict[str, str], says: str) -> None:
    """What cannot be had is said, not guessed."""
    with pytest.raises(InvalidRequest, match=says):
        settings_from(environ)
