"""Where the benchmarks take place: one workspace, our server, llama-server's default and its eight slots.

All of them stay up for the whole run; while one is measured, the others idle.
"""

import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from actors.launcher.facts import n_usable_cores
from tests.benchmarks.answers import Answer, read_answer
from tests.benchmarks.llamactor import MODEL, Llamactor
from tests.benchmarks.load import LoadOrder, drive
from tests.benchmarks.progress import progress
from tests.benchmarks.prompts import long_stories
from tests.benchmarks.requests import Api, chat_request
from tests.benchmarks.server import Server, free_port

_ANSWER_TIMEOUT_S = 120.0
_WARM_UP_TOKENS = 16
_SETTLE_S = 1.0
"""After a warm-up, for what a server does in its first idle moment."""


@dataclasses.dataclass(frozen=True, slots=True)
class Contender:
    """A server and the way in which it is asked."""

    name: str
    server: Server
    api: Api


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """The servers of a run and what they need; prompts are drawn from here, so that none is used twice."""

    workspace: Path
    model_file: Path
    binary: Path
    llamactor: Llamactor
    ours: Contender
    """Our server through the API that both have."""
    native: Contender
    """Our server through Ollama's API."""
    default: Contender
    """llama-server as it comes."""
    wide: Contender
    """llama-server with eight slots."""
    prompts: Iterator[str]

    @property
    def contenders(self) -> list[Contender]:
        """All of them, as rows of a table."""
        return [self.ours, self.native, self.default, self.wide]

    def request(self, contender: Contender, *, n_tokens: int) -> bytes:
        """Make a request with a prompt of its own."""
        return chat_request(
            contender.api, port=contender.server.port, model=MODEL, prompt=next(self.prompts), n_tokens=n_tokens
        )

    def ask(self, contender: Contender, *, n_tokens: int) -> Answer:
        """Ask for one answer."""
        request = self.request(contender, n_tokens=n_tokens)
        (recording,) = drive(LoadOrder(contender.server.port, ((request,),), _ANSWER_TIMEOUT_S)).recordings
        return read_answer(recording, contender.api)

    def warm_up(self, contender: Contender) -> None:
        """Have everything loaded, paged in and grown."""
        self.ask(contender, n_tokens=_WARM_UP_TOKENS)
        time.sleep(_SETTLE_S)


@contextlib.contextmanager
def open_arena(model_file: Path, binary: Path) -> Iterator[Arena]:
    """Start all servers for as long as the block runs.

    Raises:
        NotMeasured: one does not come up.
    """
    workspace = Path(tempfile.mkdtemp(prefix="llb-", dir="/tmp"))  # short, for sockets lie in it
    try:
        with (
            Llamactor(workspace) as llamactor,
            llama_server(binary, model_file, workspace) as default,
            llama_server(binary, model_file, workspace, "-np", "8") as wide,
        ):
            llamactor.wait_until_ready("/api/version")
            llamactor.create(MODEL, model_file)
            default.wait_until_ready("/health")
            wide.wait_until_ready("/health")
            arena = Arena(
                workspace=workspace,
                model_file=model_file,
                binary=binary,
                llamactor=llamactor,
                ours=Contender("llamactor", llamactor, Api.OPENAI),
                native=Contender("llamactor /api/chat", llamactor, Api.NATIVE),
                default=Contender("llama-server", default, Api.OPENAI),
                wide=Contender("llama-server -np 8", wide, Api.OPENAI),
                prompts=long_stories(),
            )
            for contender in (arena.ours, arena.default, arena.wide):
                arena.warm_up(contender)
            yield arena
            for complaint in llamactor.complaints():
                progress(f"our server's log: {complaint}")
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def llama_server(binary: Path, model_file: Path, workspace: Path, *options: str) -> Server:
    """Prepare a llama-server with its defaults, as many threads as our runner has, and more options."""
    port = free_port()
    command = [str(binary), "-m", str(model_file), "--host", "127.0.0.1", "--port", str(port)]
    return Server(
        [*command, "-t", str(n_usable_cores()), *options],
        port=port,
        log_path=workspace / f"llama-server-{port}.log",
        environ=os.environ,
    )
