"""Chat templates rendered elsewhere: the request and its answer, and the runner's side of asking.

Templates come with models and are hostile input: no sandbox bounds their time or memory. So they render in a helper
process of the host (`runners.renderer`), which the kernel kills when one overruns; the launcher starts the next one.
A request that is lost with a killed renderer is asked once more, then fails: a template that kills twice is at fault.
"""

from typing import Any

import msgspec
import trio

from actors.codec import Codec, encode
from actors.errors import TemplateFailed
from actors.transport import Kind, Socket

RENDER_LIMIT_S = 2.0
"""Time that one render may take before the kernel ends its process; the slowest real template needs 10 ms."""
_ANSWER_DEADLINE_S = RENDER_LIMIT_S + 1.0
_ATTEMPTS = 2


class RenderRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One render of a Jinja template; `messages` and `tools` as chat templates expect them."""

    number: int
    template: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    bos_token: str
    eos_token: str
    add_generation_prompt: bool
    variables: dict[str, Any]


class GoRenderRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One render of a Go template: of a conversation, or with a suffix of what is around a gap."""

    number: int
    template: str
    messages: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    prompt: str = ""
    suffix: str = ""
    think: bool | str | None = None


AnyRenderRequest = RenderRequest | GoRenderRequest


class Rendered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The text."""

    number: int
    text: str


class RenderFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The template raised, or did not compile."""

    number: int
    reason: str


RenderAnswer = Rendered | RenderFailed


class RendererClient:
    """Asks the host's renderer, one request at a time; for the trio thread."""

    def __init__(self, endpoint: str, *, identity: str) -> None:
        self._socket = Socket(Kind.DEALER, identity=identity)
        self._socket.connect(endpoint)
        self._codec: Codec[RenderAnswer] = Codec(RenderAnswer)
        self._turn = trio.Lock()
        self._number = 0

    async def render(self, request: AnyRenderRequest) -> str:
        """Render one prompt; `request.number` is set here.

        Raises:
            TemplateFailed: the template raised, or two renderers in a row died or were silent over it.
        """
        async with self._turn:
            for _ in range(_ATTEMPTS):
                self._number += 1
                self._socket.send_nowait([encode(msgspec.structs.replace(request, number=self._number))])
                with trio.move_on_after(_ANSWER_DEADLINE_S):
                    return self._text_of(await self._answer())
        raise TemplateFailed(f"it did not finish within {RENDER_LIMIT_S:g} s")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def _answer(self) -> RenderAnswer:
        while True:
            answer = self._codec.decode((await self._socket.receive())[0])
            if answer.number == self._number:  # older ones answer requests that were given up
                return answer

    @staticmethod
    def _text_of(answer: RenderAnswer) -> str:
        if isinstance(answer, RenderFailed):
            raise TemplateFailed(answer.reason)
        return answer.text
