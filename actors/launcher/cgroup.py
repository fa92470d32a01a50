"""The limits that a control group sets on this process: memory in bytes, processor time in cores.

The tightest limit on the path from our group to the root counts. Source: the kernel's cgroup-v2 (`memory.max`,
`memory.current`, `cpu.max`) and cgroup-v1 (`memory.limit_in_bytes`, `cpu.cfs_quota_us`) documentation; proc(5).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A group's bound, and what it uses that the kernel could not take back."""

    limit_bytes: int
    used_bytes: int


def memory_limits(self_file: Path = _SELF, root: Path = _ROOT) -> list[MemoryLimit]:
    """Give every memory limit that holds for this process."""
    found = []
    for folder in _folders("memory", self_file, root):
        limit = _number(folder / "memory.max")
        current = _number(folder / "memory.current")
        inactive_name = "inactive_file"
        if limit is None:
            limit = _number(folder / "memory.limit_in_bytes")
            current = _number(folder / "memory.usage_in_bytes")
            inactive_name = "total_inactive_file"
        if limit is not None and current is not None:
            cache = _field(folder / "memory.stat", inactive_name)
            found.append(MemoryLimit(limit, max(0, current - cache)))
    return found


def cpu_limits(self_file: Path = _SELF, root: Path = _ROOT) -> list[float]:
    """Give every processor quota that holds for this process, in cores."""
    found = []
    for folder in _folders("cpu", self_file, root):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not period:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            found.append(int(quota) / int(period))
    return found


def _folders(controller: str, self_file: Path, root: Path) -> Iterator[Path]:
    """Yield our group of one controller and its ancestors, in both hierarchies."""
    for line in _text(self_file).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        # In a container the path may be the host's, which does not exist here; its ancestors do, the root at last.
        folder = top / group.lstrip("/")
        while folder.is_relative_to(top):
            yield folder
            if folder == top:
                break
            folder = folder.parent


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _field(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdecimal():
            return int(value)
    return 0
