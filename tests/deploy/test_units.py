"""Tests of the systemd units and of the scripts that install them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actors.durations import parse_duration_s
from actors.settings import settings_from
from deploy.folders import ROOT

_UNITS = ROOT / "deploy" / "systemd"
_PARTS = ("gateway", "scheduler", "runner")
_SCRIPTS = ("setup.sh", "install.sh", "uninstall.sh")


def _settings(path: Path) -> dict[str, list[str]]:
    """The [Service] settings of a unit file; those given several times have several values."""
    found: dict[str, list[str]] = {}
    in_service = False
    for line in path.read_text().splitlines():
        if line.startswith("["):
            in_service = line == "[Service]"
        elif in_service and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_units_are_clean_under_systemd_analyze(tmp_path: Path) -> None:
    """The service manager has nothing to say about them; the command stands for one that is installed."""
    shutil.copytree(_UNITS, tmp_path / "units")
    for part in _PARTS:
        unit = tmp_path / "units" / f"llamactor-{part}.service"
        unit.write_text(unit.read_text().replace("/opt/llamactor/venv/bin/actorctl", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no"]
    command += [
        str(path)
        for path in sorted((tmp_path / "units").glob("llamactor*.*"))
        if path.suffix in {".service", ".target"}
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("part", _PARTS)
def test_unit_of_each_part_has_a_folder_of_its_own_and_a_watchdog(part: str) -> None:
    """Restarting one part removes no other part's sockets, and a part that hangs is restarted."""
    settings = _settings(_UNITS / f"llamactor-{part}.service")
    assert settings["ExecStart"] == [f"/opt/llamactor/venv/bin/actorctl {part}"]
    assert settings["RuntimeDirectory"] == [f"llamactor-{part}"]
    assert int(settings["WatchdogSec"][0]) > 3


def test_units_leave_time_to_drain() -> None:
    """The service manager kills later than the parts themselves would."""
    common = _settings(_UNITS / "llamactor-.service.d" / "10-common.conf")
    drain_timeout_s = settings_from({"LLAMACTOR_RUN_DIR": "/run/x"}).drain_timeout_s
    assert int(common["TimeoutStopSec"][0]) > drain_timeout_s + 5
    assert (common["Type"], common["KillMode"]) == (["notify"], ["mixed"])


def test_runner_that_the_kernel_kills_for_memory_takes_no_other_along() -> None:
    """By default the service manager would end the launcher and all runners with it."""
    assert _settings(_UNITS / "llamactor-runner.service")["OOMPolicy"] == ["continue"]


def test_units_meet_at_the_schedulers_socket() -> None:
    """All parts look for the scheduler where its own unit puts it."""
    common = _settings(_UNITS / "llamactor-.service.d" / "10-common.conf")
    environ = dict(entry.split("=", 1) for entry in common["Environment"])
    folder = _settings(_UNITS / "llamactor-scheduler.service")["RuntimeDirectory"][0]
    scheduler = settings_from(environ | {"RUNTIME_DIRECTORY": f"/run/{folder}"})
    assert scheduler.scheduler_endpoint == f"ipc://{scheduler.run_dir}/scheduler.sock"
    state = _settings(_UNITS / "llamactor-gateway.service")["StateDirectory"][0].split()
    assert str(scheduler.models) in {f"/var/lib/{name}" for name in state}


def test_example_environment_shows_the_real_defaults() -> None:
    """Every setting in the example exists and, uncommented, changes nothing."""
    lines = (_UNITS / "llamactor.env").read_text().splitlines()
    shown = dict(
        line[1:].split("=", 1) for line in lines if line.startswith("#") and line[1:2].isupper() and "=" in line
    )
    base = {"LLAMACTOR_RUN_DIR": "/run/x", "OLLAMA_MODELS": "/var/lib/llamactor/models"}
    others = {"OLLAMA_DEBUG", "CUDA_VISIBLE_DEVICES"}  # and keys, which a service has elsewhere than a user
    others |= {"LLAMACTOR_IDENTITY", "LLAMACTOR_REGISTRY", "LLAMACTOR_REGISTRY_KEYS"}
    unchanged = {name: value for name, value in shown.items() if name not in others}
    assert settings_from(base | unchanged) == settings_from(base)
    assert parse_duration_s(shown["LLAMACTOR_DRAIN_TIMEOUT"]) == 30


@pytest.mark.parametrize("script", _SCRIPTS)
def test_scripts_parse_and_are_executable(script: str) -> None:
    """A plain sh can read them."""
    path = ROOT / "deploy" / script
    assert os.access(path, os.X_OK)
    shell = shutil.which("dash") or "/bin/sh"
    assert subprocess.run([shell, "-n", str(path)], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("script", ["install.sh", "uninstall.sh"])
def test_scripts_for_root_refuse_others(tmp_path: Path, script: str) -> None:
    """Without root nothing is touched, and the error says how to call it."""
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [str(ROOT / "deploy" / script)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: this needs root: sudo deploy/{script}")
