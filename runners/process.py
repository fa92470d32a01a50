"""Entry of a runner process: waits idle in its pipe for its one assignment, then serves it until it is drained.

The launcher forks it from a forkserver that has the imports done; nothing native is initialised before the
assignment, so that an idle spare costs no device memory.
"""

import os
from multiprocessing.connection import Connection

import trio
import zmq

from actors.codec import Codec
from actors.log import configure_logging
from actors.messages.launcher_to_runner import Assignment
from actors.process import set_title
from runners.actor import Runner


def main(pipe: Connection) -> None:
    """Serve one model, then end the process."""
    try:
        frame = pipe.recv_bytes()
    except EOFError:
        return  # the launcher ended before there was anything to do
    assignment: Assignment = Codec[Assignment](Assignment).decode(frame)
    set_title(f"runner {assignment.model.name}")
    configure_logging(process=f"runner {assignment.model.name}", debug=assignment.debug)
    status = trio.run(_serve, assignment)
    zmq.Context.instance().term()  # waits, bounded by the linger, until the last messages are out
    # llama.cpp's and OpenMP's exit handlers can hang or crash with device backends; everything is flushed by now.
    os._exit(status)


async def _serve(assignment: Assignment) -> int:
    return await Runner(assignment).run()
