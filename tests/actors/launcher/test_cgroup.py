"""Limits of control groups, read from files as the kernel writes them."""

from pathlib import Path

import pytest

from actors.launcher.cgroup import MemoryLimit, cpu_limits, memory_limits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A `/sys/fs/cgroup` without groups."""
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def group(root: Path, path: str, **files: str) -> None:
    """Make a group with these files; `__` in a name stands for the dot."""
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def self_file(root: Path, *lines: str) -> Path:
    """Make a `/proc/self/cgroup`."""
    path = root.parent / "self"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_memory_limits_of_version_2_leave_out_the_cache(root: Path) -> None:
    """Inactive file pages are given back when they are needed."""
    group(root, "a", memory__max="1000", memory__current="700", memory__stat="anon 400\ninactive_file 300")
    assert memory_limits(self_file(root, "0::/a"), root) == [MemoryLimit(limit_bytes=1000, used_bytes=400)]


def test_memory_limits_count_ancestors(root: Path) -> None:
    """A service inside a limited slice has the slice's limit."""
    group(root, "slice", memory__max="500", memory__current="100")
    group(root, "slice/service", memory__max="max", memory__current="50")
    assert memory_limits(self_file(root, "0::/slice/service"), root) == [MemoryLimit(limit_bytes=500, used_bytes=100)]


def test_memory_limits_of_version_1_are_read(root: Path) -> None:
    """An old host, or one with both hierarchies."""
    group(
        root,
        "memory/a",
        memory__limit_in_bytes="1000",
        memory__usage_in_bytes="600",
        memory__stat="inactive_file 1\ntotal_inactive_file 200",
    )
    lines = self_file(root, "4:memory:/a", "1:name=systemd:/a", "0::/")
    assert memory_limits(lines, root) == [MemoryLimit(limit_bytes=1000, used_bytes=400)]


def test_memory_limits_in_a_container_with_a_foreign_path_use_the_root(root: Path) -> None:
    """The path is the host's; what holds is mounted at the top."""
    group(root, "", memory__max="300", memory__current="100")
    assert memory_limits(self_file(root, "0::/docker/abc"), root) == [MemoryLimit(limit_bytes=300, used_bytes=100)]


@pytest.mark.parametrize("line", ["", "nonsense", "0::/../../etc", ":::::", "1:memory"])
def test_memory_limits_of_odd_lines_are_none(root: Path, line: str) -> None:
    """What cannot be read limits nothing."""
    assert memory_limits(self_file(root, line), root) == []


def test_memory_limits_without_control_groups_are_none(root: Path) -> None:
    """Not every system has them."""
    assert memory_limits(root / "missing", root) == []


def test_cpu_limits_of_both_versions_are_in_cores(root: Path) -> None:
    """Quota over period."""
    group(root, "a", cpu__max="150000 100000")
    group(root, "cpu,cpuacct/a", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert cpu_limits(self_file(root, "0::/a", "2:cpu,cpuacct:/a"), root) == [1.5, 0.5]


def test_cpu_limits_without_quota_are_none(root: Path) -> None:
    """Version 2 says `max`, version 1 says -1."""
    group(root, "a", cpu__max="max 100000")
    group(root, "cpu/a", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cpu_limits(self_file(root, "0::/a", "2:cpu:/a"), root) == []
