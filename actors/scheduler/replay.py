"""`python -m actors.scheduler.replay FILE`: run a dumped event log through the core again and print what it decides.

A scheduler writes its log (`journal`) into its run folder when it meets a bug, and on SIGUSR1. The file is a pickle:
replay only what your own scheduler wrote.
"""

import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from actors.scheduler.events import Effect, Event, Note, Received, Undelivered
from actors.scheduler.journal import Entry, load_dump
from actors.scheduler.machine import Scheduler
from actors.scheduler.world import World


def replay(world: World, events: Iterable[Entry]) -> Iterator[tuple[float, Event, list[Effect]]]:
    """Give each event again with the effects that the core has for it."""
    core = Scheduler.resumed(world)
    for now_s, event in events:
        yield now_s, event, core.handle(event, now_s)


def main() -> int:
    """Replay the file that the command line names."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program's name and the file's
        sys.stderr.write("usage: python -m actors.scheduler.replay FILE\n")
        return 1
    try:
        world, events = load_dump(Path(sys.argv[1]).read_bytes())
    except OSError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except Exception as error:  # noqa: BLE001 - unpickling raises whatever a damaged file leads it to
        sys.stderr.write(f"Error: {sys.argv[1]} is no event log of this version's scheduler: {error!r}\n")
        return 1
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads may have seen enough
    for now_s, event, effects in replay(world, events):
        sys.stdout.write(f"{now_s:.3f} {_event_text(event)}\n")
        for effect in effects:
            sys.stdout.write(f"    {_effect_text(effect)}\n")
    return 0


def _event_text(event: Event) -> str:
    if isinstance(event, Received):
        return f"{event.sender}: {event.message}"
    if isinstance(event, Undelivered):
        return f"undelivered to {event.effect.peer}: {event.effect.message}"
    return "tick"


def _effect_text(effect: Effect) -> str:
    return f"note: {effect.text}" if isinstance(effect, Note) else f"to {effect.peer}: {effect.message}"


if __name__ == "__main__":
    sys.exit(main())
