"""Memory of one host: what runners take, and what is left for the next.

Theory of operation. A host reports what is available, but that figure is up to a second old and does not yet show
what a loading runner will still take, and, since mapped weights are page cache, it never shows those. So the free
memory is the smaller of two bounds: reported available memory less all that is not in the report yet, and the total
less the shares of all living runners. What exited since the last report is credited.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from actors.messages.model import HostFacts


class Share(msgspec.Struct, frozen=True, gc=False):
    """Memory that one runner takes or will take, on the host and on each device by its index."""

    host_bytes: int = 0
    device_bytes: Mapping[int, int] = msgspec.field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Host and devices together."""
        return self.host_bytes + sum(self.device_bytes.values())

    def __add__(self, other: "Share") -> "Share":
        return total((self, other))


class Room(msgspec.Struct, frozen=True, gc=False):
    """Memory that is free for one more runner."""

    host_bytes: int
    host_total_bytes: int
    device_bytes: Mapping[int, int] = msgspec.field(default_factory=dict)
    device_total_bytes: int = 0
    """Sum over all devices."""

    @property
    def total_bytes(self) -> int:
        """What is free on host and devices together."""
        return self.host_bytes + sum(self.device_bytes.values())

    def on_devices(self, indices: Collection[int]) -> "Room":
        """Give the part of the room that these devices and the host are."""
        devices = {index: free for index, free in self.device_bytes.items() if index in indices}
        return Room(self.host_bytes, self.host_total_bytes, devices, self.device_total_bytes)

    def plus(self, share: Share) -> "Room":
        """Give the room there would be if the runner of this share were gone."""
        return self._changed(share, 1)

    def minus(self, share: Share) -> "Room":
        """Give the room there would be beside a runner of this share."""
        return self._changed(share, -1)

    def _changed(self, share: Share, sign: int) -> "Room":
        devices = {index: free + sign * share.device_bytes.get(index, 0) for index, free in self.device_bytes.items()}
        host_bytes = min(self.host_bytes + sign * share.host_bytes, self.host_total_bytes)
        return Room(host_bytes, self.host_total_bytes, devices, self.device_total_bytes)


def total(shares: Iterable[Share]) -> Share:
    """Add shares up."""
    host_bytes, devices = 0, dict[int, int]()
    for share in shares:
        host_bytes += share.host_bytes
        for index, taken in share.device_bytes.items():
            devices[index] = devices.get(index, 0) + taken
    return Share(host_bytes, devices)


def room_on(
    facts: HostFacts, *, living: Share, unreported: Share, credit: Share, device_overhead_bytes: int = 0
) -> Room:
    """Compute what is free on a host.

    Args:
        facts: the host's last report.
        living: shares of all its runners.
        unreported: shares of those among them that the report does not show yet.
        credit: shares of the runners that exited since the report.
        device_overhead_bytes: what is left alone of each device.
    """
    host = min(
        facts.memory_available_bytes + credit.host_bytes - unreported.host_bytes,
        facts.memory_total_bytes - living.host_bytes,
    )
    devices = {
        device.index: min(
            device.free_bytes + credit.device_bytes.get(device.index, 0) - unreported.device_bytes.get(device.index, 0),
            device.total_bytes - living.device_bytes.get(device.index, 0),
        )
        - device_overhead_bytes
        for device in facts.devices
    }
    return Room(
        host_bytes=max(0, host),
        host_total_bytes=facts.memory_total_bytes,
        device_bytes={index: max(0, free) for index, free in devices.items()},
        device_total_bytes=sum(device.total_bytes for device in facts.devices),
    )
