"""The facts of this host that placement needs: cores, memory, devices.

Cores and memory come from procfs and sysfs, which never block. Devices come from a driver, which may, so a thread
reads them.
"""

import math
import os
import sys
from pathlib import Path

import trio

from actors.launcher import cgroup, devices
from actors.messages.model import Device, HostFacts

_REFRESH_S = 1.0
_CPUS = Path("/sys/devices/system/cpu")
_MEMINFO = Path("/proc/meminfo")


class Facts:
    """The facts, with the devices as of the last refresh."""

    def __init__(self) -> None:
        self._n_cores = n_usable_cores()  # affinity and quota are settled before a process starts
        self._devices: tuple[Device, ...] = ()

    def now(self) -> HostFacts:
        """Give the present facts."""
        total_bytes, available_bytes = memory()
        return HostFacts(
            n_cores=self._n_cores,
            memory_total_bytes=total_bytes,
            memory_available_bytes=available_bytes,
            devices=self._devices,
        )

    async def refresh_devices_forever(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the devices fresh, started once they are known; returns where there are none."""
        if not await trio.to_thread.run_sync(devices.has_devices, abandon_on_cancel=True):
            task_status.started()
            return
        self._devices = await trio.to_thread.run_sync(devices.read_devices, abandon_on_cancel=True)
        task_status.started()
        while True:
            await trio.sleep(_REFRESH_S)
            self._devices = await trio.to_thread.run_sync(devices.read_devices, abandon_on_cancel=True)


def n_usable_cores() -> int:
    """Count the physical cores that affinity and control group let this process use, at least 1."""
    cpus = os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)
    # Hyper-threads of one core list the same siblings; a system that does not say counts each for itself.
    cores = {_sibling_list(cpu) or str(cpu) for cpu in cpus}
    quota = min(cgroup.cpu_limits(), default=math.inf)
    return max(1, len(cores) if math.isinf(quota) else min(len(cores), math.ceil(quota)))


def memory() -> tuple[int, int]:
    """Give total and available memory in bytes, as bounded by the control group."""
    total_bytes, available_bytes = _machine_memory()
    for bound in cgroup.memory_limits():
        total_bytes = min(total_bytes, bound.limit_bytes)
        available_bytes = min(available_bytes, max(0, bound.limit_bytes - bound.used_bytes))
    return total_bytes, available_bytes


def _machine_memory() -> tuple[int, int]:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux: nobody says what is available
        total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return total_bytes, total_bytes
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return kib["MemTotal"] << 10, kib.get("MemAvailable", kib["MemFree"]) << 10


def _sibling_list(cpu: int) -> str:
    try:
        return (_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text(encoding="ascii").strip()
    except OSError:
        return ""
