"""The host's NVIDIA devices as facts, through NVML; the only import of pynvml.

Calls may block in the driver, so they belong off trio's thread. Devices that CUDA_VISIBLE_DEVICES hides are left out
and the others counted anew, as CUDA does, so that an index means the same device to a runner.
"""

import os

import pynvml

from actors.log import get_logger
from actors.messages.model import Device

log = get_logger(__name__)


def has_devices() -> bool:
    """Load NVML, once per process; False on a host without an NVIDIA driver or device."""
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount()) > 0
    except pynvml.NVMLError as error:
        log.debug("no NVIDIA devices: %s", error)
        return False


def read_devices() -> tuple[Device, ...]:
    """Read the visible devices and their memory; those that fail are left out. Needs `has_devices()` first."""
    devices = []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        uuids = [_text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        visible = visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), uuids)
        for index, place in enumerate(visible):
            memory = pynvml.nvmlDeviceGetMemoryInfo(handles[place])
            name = _text(pynvml.nvmlDeviceGetName(handles[place]))
            devices.append(Device(index=index, name=name, total_bytes=memory.total, free_bytes=memory.free))
    except pynvml.NVMLError as error:
        log.warning("NVML: %s", error)
    return tuple(devices)


def visible_devices(setting: str | None, uuids: list[str]) -> list[int]:
    """Give the places of the devices that CUDA_VISIBLE_DEVICES shows, in its order.

    Source: CUDA C++ Programming Guide, CUDA environment variables: indices or unambiguous beginnings of ids; the
    first that names no device ends the list.
    """
    if setting is None:
        return list(range(len(uuids)))
    shown: list[int] = []
    for part in (part.strip() for part in setting.split(",")):
        if part.isdecimal():
            matches = [int(part)] if int(part) < len(uuids) else []
        else:
            matches = [i for i, uuid in enumerate(uuids) if part and uuid.lower().startswith(part.lower())]
        if len(matches) != 1:
            break
        shown += matches
    return shown


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
