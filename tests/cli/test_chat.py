"""Tests of the chat, on a real pseudo-terminal, against a server double."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.double import Double

_DEADLINE_S = 60.0


class Terminal:
    """A chat on a pseudo-terminal; reads with a deadline, never by sleeping."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environ = os.environ | {"TERM": "dumb", "COLUMNS": "80", "LINES": "24"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "run", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
        )
        os.close(slave)
        self._unread = ""

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, text.encode() + b"\r")

    def press(self, key: bytes) -> None:
        """Press one key."""
        os.write(self._master, key)

    def interrupt(self) -> None:
        """Do what Ctrl+C does to the process in front."""
        self._child.send_signal(signal.SIGINT)

    def read_until(self, text: str) -> str:
        """Give all that was printed up to and with `text`."""
        deadline = time.monotonic() + _DEADLINE_S
        while text not in self._unread:
            assert select.select([self._master], [], [], deadline - time.monotonic())[0], self._unread
            self._unread += os.read(self._master, 65536).decode().replace("\r\n", "\n")
        before, _, self._unread = self._unread.partition(text)
        return before + text

    def wait(self) -> int:
        """Wait for the end of the chat and give its exit status."""
        return self._child.wait(_DEADLINE_S)

    def close(self) -> None:
        """End everything."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        os.close(self._master)


@contextlib.contextmanager
def chatting(*arguments: str) -> Iterator[Terminal]:
    """Chat while the block runs, from the first prompt on."""
    terminal = Terminal("m", *arguments)
    try:
        terminal.read_until(">>> ")
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
def model(server: Double) -> Double:
    """Serve a model that answers with the last message, in upper case."""

    def chat(body: Any) -> tuple[int, list[Any]]:
        text = body["messages"][-1]["content"].upper()
        return 200, [{"message": {"role": "assistant", "content": text}}, {"message": {"content": ""}, "done": True}]

    server.replies["POST /api/show"] = (200, [{"capabilities": ["completion"], "system": "Be kind."}])
    server.replies["POST /api/generate"] = (200, [{"done": True, "done_reason": "load"}])
    server.replies["POST /api/chat"] = chat
    return server


def test_chat_keeps_the_conversation_until_it_is_cleared(model: Double) -> None:
    """Each request carries what was said before, until `/clear`."""
    with chatting() as terminal:
        for text in ("one", "two"):
            terminal.type(text)
            terminal.read_until(f"{text.upper()}\n\n")
            terminal.read_until(">>> ")  # a key that comes before the prompt means what it means to the kernel
        terminal.type("/clear")
        terminal.read_until(">>> ")
        terminal.type("three")
        terminal.read_until("THREE\n\n")
        terminal.read_until(">>> ")
        terminal.press(b"\x04")
        assert terminal.wait() == 0
    contents = [[message["content"] for message in body["messages"]] for body in model.asked("POST /api/chat")]
    assert contents == [["one"], ["one", "ONE", "two"], ["three"]]


def test_chat_reads_messages_of_several_lines(model: Double) -> None:
    """Triple quotes begin and end a message of several lines."""
    with chatting() as terminal:
        terminal.type('"""first')
        terminal.read_until("... ")
        terminal.type('second"""')
        terminal.read_until("SECOND\n\n")
        terminal.type("/bye")
        assert terminal.wait() == 0
    assert model.asked("POST /api/chat")[0]["messages"][0]["content"] == "first\nsecond"


def test_chat_settings_reach_the_request(model: Double) -> None:
    """Parameters, system message, format and thinking are sent from then on."""
    with chatting() as terminal:
        for command, reply in (
            ("/set parameter temperature 0.5", "Set parameter 'temperature' to '0.5'"),
            ("/set parameter stop A B", "Set parameter 'stop' to 'A, B'"),
            ("/set system You are a pirate.", "Set system message."),
            ("/set format json", "Set format to 'json' mode."),
            ("/set think low", "Set 'think' mode to 'low'."),
            ("/set parameter wibble 1", "Error: unknown parameter 'wibble'"),
            ("/set wibble", "Unknown command '/set wibble'. Type /? for help"),
            ("/wibble", "Unknown command '/wibble'. Type /? for help"),
        ):
            terminal.type(command)
            terminal.read_until(reply)
        terminal.type("go")
        terminal.read_until("GO\n\n")
    (body,) = model.asked("POST /api/chat")
    assert body == {
        "model": "m",
        "format": "json",
        "think": "low",
        "options": {"temperature": 0.5, "stop": ["A", "B"]},
        "messages": [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "go"}],
    }


def test_chat_shows_saves_and_loads_models(model: Double) -> None:
    """`/show`, `/save` and `/load` talk to the server about models."""
    model.replies["POST /api/create"] = (200, [{"status": "success"}])
    with chatting() as terminal:
        terminal.type("/show system")
        terminal.read_until("Be kind.\n")
        terminal.type("/show license")
        terminal.read_until("No license was specified for this model.")
        terminal.type("hello")
        terminal.read_until("HELLO\n\n")
        terminal.type("/save mine")
        terminal.read_until("Created new model 'mine'")
        terminal.type("/load other")
        terminal.read_until("Loaded model 'other'")
        terminal.type("again")
        terminal.read_until("AGAIN\n\n")
    (created,) = model.asked("POST /api/create")
    assert (created["model"], created["from"], len(created["messages"])) == ("mine", "m", 2)
    last = model.asked("POST /api/chat")[-1]
    assert (last["model"], len(last["messages"])) == ("other", 1)


def test_chat_goes_on_after_an_error(model: Double) -> None:
    """A failed answer is told, and its message is not part of the conversation."""
    answers = model.replies["POST /api/chat"]
    with chatting() as terminal:
        model.replies["POST /api/chat"] = (503, [{"error": "server busy"}])
        terminal.type("lost")
        terminal.read_until("Error: 503 Service Unavailable: server busy\n")
        model.replies["POST /api/chat"] = answers
        terminal.type("kept")
        terminal.read_until("KEPT\n\n")
    assert [message["content"] for message in model.asked("POST /api/chat")[-1]["messages"]] == ["kept"]


def test_chat_interrupted_in_an_answer_returns_to_the_prompt(model: Double) -> None:
    """Ctrl+C ends the answer, not the chat; on an empty line it prints how to leave."""
    is_asked, is_over = threading.Event(), threading.Event()

    def hang(_: Any) -> tuple[int, list[Any]]:
        is_asked.set()
        is_over.wait(_DEADLINE_S)
        return 200, []

    answers = model.replies["POST /api/chat"]
    model.replies["POST /api/chat"] = hang
    try:
        with chatting() as terminal:
            terminal.type("slow")
            terminal.read_until("slow\n")
            assert is_asked.wait(_DEADLINE_S)
            terminal.interrupt()
            terminal.read_until(">>> ")
            model.replies["POST /api/chat"] = answers
            terminal.interrupt()
            terminal.read_until("Use Ctrl + d or /bye to exit.")
            terminal.type("on")
            terminal.read_until("ON\n\n")
    finally:
        is_over.set()


def test_chat_keeps_its_lines_in_the_history_file(model: Double, tmp_path: Path) -> None:
    """Lines are kept where Ollama keeps them, and not after `/set nohistory`."""
    history = tmp_path / ".ollama" / "history"
    history.parent.mkdir()
    history.write_text("".join(f"old {n}\n" for n in range(150)))
    with chatting() as terminal:
        terminal.type("hello")
        terminal.read_until("HELLO\n\n")
        terminal.type("/bye")
        terminal.wait()
    lines = history.read_text().splitlines()
    assert (len(lines), lines[-2:]) == (100, ["hello", "/bye"])
    with chatting() as terminal:
        terminal.type("/set nohistory")
        terminal.read_until("Set 'nohistory' mode.")
        terminal.type("/bye")
        terminal.wait()
    assert history.read_text().splitlines() == lines
    assert model.requests
