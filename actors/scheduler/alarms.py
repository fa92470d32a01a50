"""Alarms: when to look at what.

An alarm says only "look at this not later than then"; the look decides whether something is really due and sets the
next alarm. So a heartbeat costs nothing here: the silence alarm rings once, finds the peer heard meanwhile, and is set
anew. Bound: one live alarm per kind and subject; stale heap entries are swept when they outnumber the live ones.
"""

import enum
import heapq
import math

_SWEEP_ABOVE = 64


class AlarmKind(enum.StrEnum):
    """What to look at; the subject is a peer's or runner's id, or a model's key."""

    SETTLE = "settle"
    SILENCE = "silence"
    QUEUE = "queue"
    TURN = "turn"
    RETRY = "retry"
    START = "start"
    LOAD = "load"
    IDLE = "idle"
    EXIT = "exit"
    AUDIT = "audit"


class Alarms:
    """A heap of deadlines; owned by the core."""

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[tuple[AlarmKind, str], float] = {}
        self._heap: list[tuple[float, tuple[AlarmKind, str]]] = []

    def look_at(self, kind: AlarmKind, subject: str, due_s: float) -> None:
        """Ring for this subject not later than `due_s`; an alarm that rings earlier anyway is left alone."""
        key = (kind, subject)
        if due_s >= self._due.get(key, math.inf):
            return
        self._due[key] = due_s
        heapq.heappush(self._heap, (due_s, key))
        if len(self._heap) > _SWEEP_ABOVE + 2 * len(self._due):
            self._heap = [(due, each) for each, due in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, kind: AlarmKind, subject: str) -> None:
        """Drop one alarm of a subject, if there is one."""
        self._due.pop((kind, subject), None)

    def forget(self, subject: str) -> None:
        """Drop every alarm of a subject."""
        for kind in AlarmKind:
            self._due.pop((kind, subject), None)

    def next_due_s(self) -> float:
        """Give the time of the next alarm, infinity without one."""
        heap, live = self._heap, self._due
        while heap and live.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def due(self, now_s: float) -> list[tuple[AlarmKind, str]]:
        """Take out the alarms that ring at `now_s`, earliest first."""
        rung = []
        while self.next_due_s() <= now_s:
            _, key = heapq.heappop(self._heap)
            del self._due[key]
            rung.append(key)
        return rung

    def __contains__(self, key: tuple[AlarmKind, str]) -> bool:
        return key in self._due

    def __len__(self) -> int:
        return len(self._due)
