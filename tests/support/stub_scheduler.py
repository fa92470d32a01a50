"""A scheduler that decides nothing: it answers hellos and heartbeats, and the test says the rest."""

from types import TracebackType
from typing import Self, TypeVar

import msgspec
import trio

from actors.codec import Codec, encode
from actors.messages.launcher_to_scheduler import FromLauncher, LauncherBeat, LauncherHello
from actors.messages.model import LoadPlan, ModelSpec
from actors.messages.runner_to_scheduler import FromRunner, RunnerBeat, RunnerHello
from actors.messages.scheduler_to_gateway import Welcome, WhoAreYou
from actors.messages.scheduler_to_launcher import StartRunner
from actors.transport import Kind, Socket

TIMEOUT_S = 60.0
PLAN = LoadPlan(num_ctx=128, n_slots=1)

M = TypeVar("M", bound=msgspec.Struct)


def model_named(name: str) -> ModelSpec:
    """Describe a model; a stub runner reads its switches from the name."""
    return ModelSpec(
        key=name,
        name=name,
        digest="0" * 64,
        weights_path="/nonexistent",
        weights_bytes=1,
        n_layers=1,
        n_ctx_train=128,
        kv_bytes_per_token=1,
    )


def start_order(runner_id: str, name: str = "stub:") -> StartRunner:
    """Order a stub runner."""
    return StartRunner(runner_id=runner_id, model=model_named(name), plan=PLAN)


class StubScheduler:
    """A ROUTER at an endpoint. Messages arrive as `(identity, message)`; those not asked for are kept."""

    def __init__(self, endpoint: str, *, epoch: str = "epoch-1") -> None:
        self._router = Socket(Kind.ROUTER)
        self._router.bind(endpoint)
        self._epoch = epoch
        self._codec: Codec[FromLauncher | FromRunner] = Codec(FromLauncher | FromRunner)
        self._known: set[str] = set()
        self._kept: list[tuple[str, msgspec.Struct]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Die: peers lose their connection."""
        self._router.close()

    def send(self, identity: str, message: msgspec.Struct, *payload: bytes) -> None:
        """Send one message to a peer that has said something before."""
        self._router.send_nowait([identity.encode(), encode(message), *payload])

    async def expect(self, kind: type[M], *, sender: str | None = None) -> tuple[str, M]:
        """Wait for a message of this kind, from this peer if one is named."""
        with trio.fail_after(TIMEOUT_S):
            while True:
                for i, (identity, message) in enumerate(self._kept):
                    if isinstance(message, kind) and sender in (None, identity):
                        del self._kept[i]
                        return identity, message
                await self._receive()

    async def _receive(self) -> None:
        name, frame, *_ = await self._router.receive()
        identity, message = name.decode(), self._codec.decode(frame)
        if isinstance(message, LauncherHello | RunnerHello):
            self._known.add(identity)
        is_beat = isinstance(message, LauncherBeat | RunnerBeat)
        if identity not in self._known:
            self.send(identity, WhoAreYou(epoch=self._epoch))
        elif is_beat or isinstance(message, LauncherHello | RunnerHello):
            self.send(identity, Welcome(epoch=self._epoch))
        if not is_beat:
            self._kept.append((identity, message))
