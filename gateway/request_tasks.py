"""The tasks of one connection, as Hypercorn's protocols ask for them: one for each request.

What a client sends for a request goes from the connection's reader straight into the request's body, without a channel
and a task between them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVarTuple

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

from actors.log import get_logger

log = get_logger(__name__)

Arguments = TypeVarTuple("Arguments")

Send = Callable[[ASGISendEvent | None], Awaitable[None]]


class Receiver(Protocol):
    """Takes what a client sends for one request."""

    def take(self, message: ASGIReceiveEvent) -> None:
        """Take a message: a piece of the body, or that the client has left."""
        ...

    async def has_room(self) -> None:
        """Wait until it takes more."""
        ...


class Inbox:
    """What a client sends for one request; kept until its receiver is there. Stands where ASGI has `receive`."""

    def __init__(self, tasks: "RequestTasks") -> None:
        self.tasks = tasks
        """Those of the connection on which it comes."""
        self._kept: list[ASGIReceiveEvent] = []
        self._receiver: Receiver | None = None

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Hand on a message, then wait until there is room for the next one."""
        if self._receiver is None:
            self._kept.append(message)  # its task starts in the next turn of the loop, and this one is about to end
            return
        self._receiver.take(message)
        await self._receiver.has_room()

    def forward_to(self, receiver: Receiver) -> None:
        """Give everything to a receiver, from what is here on."""
        self._receiver = receiver
        for message in self._kept:
            receiver.take(message)
        self._kept.clear()

    async def __call__(self) -> ASGIReceiveEvent:
        """Give nothing: the receiver is told."""
        return await trio.sleep_forever()


class RequestTasks(TaskGroup):
    """A connection's nursery."""

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start the task of a request, and give what takes that which its client sends."""
        if scope["type"] != "http":
            return await super().spawn_app(app, config, scope, send)
        inbox = Inbox(self)
        self.spawn(_run, app, scope, inbox, send)
        return inbox.put

    def start_beside(
        self,
        scope: trio.CancelScope,
        on_bug: Callable[[], None],
        task: Callable[[*Arguments], Awaitable[None]],
        *arguments: *Arguments,
    ) -> None:
        """Start a further task of a request, which ends with `scope`."""
        self.spawn(_run_beside, scope, on_bug, task, *arguments)


async def _run(app: AppWrapper, scope: Scope, inbox: Inbox, send: Send) -> None:
    """Run the app for one request; whatever is wrong with it must not end the connection's other requests."""
    try:
        await app(scope, inbox, send, trio.to_thread.run_sync, _no_threads)
    except* Exception:
        log.exception("a request failed by a bug")
    finally:
        await send(None)


async def _run_beside(
    scope: trio.CancelScope,
    on_bug: Callable[[], None],
    task: Callable[[*Arguments], Awaitable[None]],
    *arguments: *Arguments,
) -> None:
    with scope:
        try:
            await task(*arguments)
        except Exception:
            log.exception("a request failed by a bug")
            on_bug()


def _no_threads(*_args: Any) -> None:
    raise NotImplementedError("only WSGI apps are called from threads")
