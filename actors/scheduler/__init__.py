"""The scheduler: which runner exists, holds which model and has which free slots; and who waits for one."""

from actors.scheduler.events import Effect, Event, Note, Received, Send, Tick, Undelivered
from actors.scheduler.machine import Scheduler

__all__ = ["Effect", "Event", "Note", "Received", "Scheduler", "Send", "Tick", "Undelivered"]
