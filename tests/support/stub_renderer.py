"""A renderer that renders nothing: it takes its assignment and stays until it is told to end."""

import signal
from multiprocessing.connection import Connection

from actors.codec import Codec
from actors.messages.launcher_to_runner import RendererAssignment
from actors.process import set_title


def main(pipe: Connection) -> None:
    """Take the assignment, then wait for a signal."""
    assignments: Codec[RendererAssignment] = Codec(RendererAssignment)
    assignments.decode(pipe.recv_bytes())
    set_title("renderer")
    while True:
        signal.pause()
