"""Entry of a runner process: waits idle in its pipe for its one assignment, then serves it until it is drained.

The launcher forks it from a forkserver that has the imports done; nothing native is initialised before the
assignment, so that an idle spare costs no device memory.
"""

import os
import signal
from multiprocessing.connection import Connection

import trio

from actors.codec import Codec
from actors.log import configure_logging
from actors.messages.launcher_to_runner import Assignment
from actors.process import set_title, spare_collector
from actors.transport import flush
from runners.actor import Runner

_assignments: Codec[Assignment] = Codec(Assignment)


def main(pipe: Connection) -> None:
    """Serve one model, then end the process."""
    trio.run(trio.lowlevel.checkpoint)  # the first run takes milliseconds more than others
    try:
        frame = pipe.recv_bytes()
    except EOFError:
        return  # the launcher ended before there was anything to do
    assignment = _assignments.decode(frame)
    set_title(f"runner {assignment.model.name}")
    configure_logging(process=f"runner {assignment.model.name}", debug=assignment.debug)
    spare_collector()
    trio.run(_serve, assignment)


async def _serve(assignment: Assignment) -> None:
    # The process ends in here: behind the block trio has put SIGTERM's default action back, and a launcher that
    # drains would turn a good end into a death by signal.
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        status = await Runner(assignment).run(signals)
        flush()
        # llama.cpp's and OpenMP's exit handlers can hang or crash with device backends; everything is flushed by now.
        os._exit(status)
