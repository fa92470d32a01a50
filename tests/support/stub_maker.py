"""A maker process that does what its order says: report, fail, die, talk nonsense, or wait for its parent's end."""

import os
import signal
import sys

import msgspec

from actors.errors import InvalidGguf
from registry.workshop.bench import Tell, carry_out


class StubOrder(msgspec.Struct, frozen=True):
    """What to do after the first report."""

    then: str = ""


def work(order: StubOrder, tell: Tell) -> None:
    """Do it."""
    tell(1, 2)
    match order.then:
        case "refuse":
            raise InvalidGguf("no such luck")
        case "break":
            raise ZeroDivisionError
        case "read":
            with open("/no/such/file", "rb"):  # noqa: PTH123 - any way to fail is as good
                pass
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "wait":
            tell(os.getpid(), 0)
            while True:
                signal.pause()
    tell(2, 2)


if __name__ == "__main__":
    sys.exit(carry_out(StubOrder, work))
