"""The body of a request while it comes: its pace. Its bounds are tested with real connections."""

import pytest
import trio
import trio.testing
from werkzeug.exceptions import RequestTimeout

from gateway.request_body import IDLE_DEADLINE_S, PACE_BYTES_PER_S, PACE_GRACE_S, RequestBody


async def _trickle(body: RequestBody, *, n_bytes: int, every_s: float) -> None:
    while True:
        await trio.sleep(every_s)
        body.add(b"x" * n_bytes, more=True)


async def test_body_of_a_silent_client_times_out(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing at all for the idle deadline."""
    del autojump_clock
    started = trio.current_time()
    with pytest.raises(RequestTimeout):
        await RequestBody(None, None).read()
    assert trio.current_time() - started == pytest.approx(IDLE_DEADLINE_S)


async def test_body_that_trickles_times_out(autojump_clock: trio.testing.MockClock) -> None:
    """A byte now and then does not hold a connection for ever."""
    del autojump_clock
    body = RequestBody(None, None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: _trickle(body, n_bytes=1, every_s=IDLE_DEADLINE_S / 2))
        with pytest.raises(RequestTimeout):
            await body.read()
        nursery.cancel_scope.cancel()
    assert PACE_GRACE_S <= trio.current_time() <= PACE_GRACE_S + IDLE_DEADLINE_S


async def test_body_of_a_slow_client_comes_through(autojump_clock: trio.testing.MockClock) -> None:
    """One that keeps the pace is waited for as long as it takes."""
    del autojump_clock
    body, every_s = RequestBody(None, None), IDLE_DEADLINE_S / 2
    n_bytes = int(PACE_BYTES_PER_S * every_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: _trickle(body, n_bytes=n_bytes, every_s=every_s))
        with trio.move_on_after(20 * PACE_GRACE_S):
            await body.read()
        nursery.cancel_scope.cancel()
    assert trio.current_time() >= 20 * PACE_GRACE_S
