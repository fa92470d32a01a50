"""The host's template renderer: one process, started again when it dies (it is killed when a template overruns)."""

from pathlib import Path

import trio

from actors.codec import encode
from actors.launcher.forkserver import Forkserver
from actors.log import get_logger
from actors.messages.launcher_to_runner import RendererAssignment
from actors.restart import RestartPolicy

_LONGEST_DELAY_S = 0.5
"""Templates that overrun kill the renderer; a fork is cheap, and nobody else shall wait for theirs."""

log = get_logger(__name__)


class Renderer:
    """Keeps the renderer running."""

    def __init__(self, forkserver: Forkserver, *, entry: str, run_dir: Path, debug: bool) -> None:
        self._forkserver = forkserver
        self._entry = entry
        self._debug = debug
        self.endpoint = f"ipc://{run_dir}/renderer.sock"

    async def keep(self) -> None:
        """Keep one renderer running.

        Cancellation: the renderer lives on; the forkserver's owner ends it.
        """
        policy = RestartPolicy(longest_s=_LONGEST_DELAY_S)
        while True:
            born = trio.current_time()
            reason = await self._run_one()
            delay_s = policy.delay_s(trio.current_time() - born)
            log.warning("the renderer ended (%s), next start in %g s", reason, delay_s)
            await trio.sleep(delay_s)

    async def _run_one(self) -> str:
        try:
            process = self._forkserver.fork(self._entry, title="renderer")
            process.assign(encode(RendererAssignment(endpoint=self.endpoint, debug=self._debug)))
        except (OSError, EOFError) as error:
            return f"cannot start: {error}"
        return f"status {await process.wait()}"
