"""How the threads of the steps get on with the host's cores: what they waited for one, and how many there were to have.

They are the calling thread and those that llama.cpp starts on it, which inherit its name. Sources: prctl(2),
PR_SET_NAME; the kernel's sched-stats documentation (the second figure of a thread's `schedstat` is the time that it
waited for a core, in nanoseconds); proc_stat(5).
"""

import os
import time
from pathlib import Path

_PROC = Path("/proc")
_NS_PER_S = 1e9
_MOST_BYTES = 128  # of a name, or of the three numbers of a `schedstat`
_IDLE_FIELDS = (4, 5)  # idle, and idle while something waits for a disk
_NICE_FIELD = 2


class CoreUse:
    """Sums that the kernel keeps; on a system that keeps none, nobody ever waits. For the thread that made it."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._stat = proc / "stat"
        self._tasks = str(proc / "self" / "task")
        self._name = _read(str(proc / "thread-self" / "comm"))
        self._names: dict[str, str] = {}
        self._waited_ns: dict[str, int] = {}
        self._sum_ns = 0

    def waited_s(self) -> float:
        """Give the seconds in which threads of the steps were ready to run and had no core, those of all together."""
        self._names = {each: self._names.get(each) or self._name_of(each) for each in self._threads()}
        found = {each: self._waited_ns_of(each) for each, name in self._names.items() if name == self._name}
        self._sum_ns += sum(max(0, ns - self._waited_ns.get(each, 0)) for each, ns in found.items())
        self._waited_ns = found
        return self._sum_ns / _NS_PER_S

    def available_s(self) -> float | None:
        """Give the seconds of cores that we had, that nobody had, and that programs had which are nice to all others.

        None where the system does not say.
        """
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        fields = _IDLE_FIELDS if os.getpriority(os.PRIO_PROCESS, 0) > 0 else (_NICE_FIELD, *_IDLE_FIELDS)
        rows = [line.split() for line in lines if line.startswith("cpu")]
        ticks = sum(int(row[field]) for row in rows if row[0] in usable for field in fields)
        return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()

    def _threads(self) -> list[str]:
        try:
            return [task.name for task in Path(self._tasks).iterdir()]
        except OSError:
            return []

    def _name_of(self, thread: str) -> str:
        return _read(f"{self._tasks}/{thread}/comm")

    def _waited_ns_of(self, thread: str) -> int:
        figures = _read(f"{self._tasks}/{thread}/schedstat").split()
        return int(figures[1]) if figures else self._waited_ns.get(thread, 0)


def _read(path: str) -> str:
    """Give a short file's text, nothing where there is none; a third of the time that a file object would take."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _MOST_BYTES).decode(errors="replace")
    except OSError:  # the thread has ended
        return ""
    finally:
        os.close(descriptor)
