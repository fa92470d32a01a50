"""The renderer process: renders templates, Jinja or Go, for all runners of a host, one at a time, under hard limits.

Before each render an interval timer is armed whose signal has its default action, so that the kernel ends a process
that overruns, whatever the template does; the address space is bounded the same way. Entry for the launcher:
`main(pipe)`, whose first message is a `RendererAssignment`.
"""

import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import zmq

from actors.codec import Codec, encode
from actors.errors import LlamactorError
from actors.log import get_logger
from actors.messages.launcher_to_runner import RendererAssignment
from actors.process import set_title
from actors.transport import configure
from registry.templates.go.prompt import PromptValues, render_prompt
from registry.templates.jinja import render_chat
from runners.rendering import RENDER_LIMIT_S, AnyRenderRequest, GoRenderRequest, RenderAnswer, Rendered, RenderFailed

log = get_logger(__name__)

_MEMORY_BYTES = 512 << 20
"""Address space a render may add to what the process has at its start."""


def main(pipe: Connection) -> None:
    """Serve until killed."""
    assignment: RendererAssignment = Codec[RendererAssignment](RendererAssignment).decode(pipe.recv_bytes())
    set_title("renderer")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    configure(socket)
    socket.bind(assignment.endpoint)
    _bound_memory()
    codec: Codec[AnyRenderRequest] = Codec(AnyRenderRequest)
    while True:
        sender, frame = socket.recv_multipart()
        answer = _answer(codec, frame)
        try:
            socket.send_multipart([sender, encode(answer)])
        except zmq.ZMQError as error:
            log.debug("a runner left before its prompt was rendered: %s", error)


def _answer(codec: Codec[AnyRenderRequest], frame: bytes) -> RenderAnswer:
    request = codec.decode(frame)
    signal.setitimer(signal.ITIMER_REAL, RENDER_LIMIT_S)
    try:
        text = _render(request)
    except LlamactorError as error:
        return RenderFailed(number=request.number, reason=str(error.fields.get("reason", error.message)))
    except MemoryError:
        return RenderFailed(number=request.number, reason="it needs too much memory")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return Rendered(number=request.number, text=text)


def _render(request: AnyRenderRequest) -> str:
    if isinstance(request, GoRenderRequest):
        values = PromptValues(
            messages=request.messages,
            tools=request.tools,
            prompt=request.prompt,
            suffix=request.suffix,
            think=request.think,
        )
        return render_prompt(request.template, values)
    return render_chat(
        request.template,
        messages=request.messages,
        tools=request.tools,
        bos_token=request.bos_token,
        eos_token=request.eos_token,
        add_generation_prompt=request.add_generation_prompt,
        variables=request.variables,
    )


def _bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
