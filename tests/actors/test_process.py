"""Child programs: their start, their end, and their death with the parent."""

import gc
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.process import PARENT_PID, Child, Program, python_program, spare_collector
from tests.support.mailbox import Mailbox
from tests.support.process_tree import title_of

pytestmark = pytest.mark.usefixtures("no_leak")

SPEAK = """
import os, socket
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), os.environ["MAILBOX"])
"""


def script(code: str, mailbox: Mailbox | None = None, **environ: str) -> Program:
    """Describe a Python script that may `tell` a mailbox."""
    program = python_program("unused", environ=environ)
    if mailbox is not None:
        environ["MAILBOX"] = str(mailbox.path)
    argv = (sys.executable, "-P", "-c", (SPEAK if mailbox is not None else "") + code)
    return Program(name="script", argv=argv, environ={**program.environ, **environ})


async def test_wait_returns_the_exit_status_to_every_waiter() -> None:
    """One reaps, all learn."""
    child = Child(script("raise SystemExit(7)"))
    codes: list[int] = []

    async def wait() -> None:
        codes.append(await child.wait())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
    assert codes == [7, 7, 7]
    assert child.exit_code == 7


async def test_kill_gives_a_negative_status() -> None:
    """A signal shows as its negative number."""
    child = Child(script("input()"))
    child.kill()
    with trio.fail_after(60):
        assert await child.wait() == -signal.SIGKILL
    child.kill()
    child.terminate()


async def test_stop_of_a_willing_child_does_not_kill() -> None:
    """SIGTERM is enough for most."""
    child = Child(script("import time; time.sleep(1000)"))
    with trio.fail_after(60):
        assert await child.stop(timeout_s=60) == (-signal.SIGTERM, False)


async def test_stop_of_a_stubborn_child_kills_and_says_so(run_dir: Path) -> None:
    """The escalation is told apart from a willing end."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); tell('deaf'); signal.pause()"
    with Mailbox(run_dir / "mail") as mailbox:
        child = Child(script(code, mailbox))
        await mailbox.expect("deaf")
        with trio.fail_after(60):
            assert await child.stop(timeout_s=0.05) == (-signal.SIGKILL, True)


async def test_child_lives_in_a_session_of_its_own(run_dir: Path) -> None:
    """Ctrl-C reaches whoever started it, not the child."""
    with Mailbox(run_dir / "mail") as mailbox:
        child = Child(script("tell(str(os.getsid(0) == os.getpid()))", mailbox))
        assert await mailbox.next() == "True"
        await child.wait()


async def test_child_does_not_inherit_the_service_manager(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd would take a child's READY=1 for its parent's."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"):
        monkeypatch.setenv(name, "7")
    with Mailbox(run_dir / "mail") as mailbox:
        child = Child(script("tell(str({'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'LISTEN_FDS'} & set(os.environ)))", mailbox))
        assert await mailbox.next() == "set()"
        await child.wait()


async def test_child_dies_with_its_killed_parent(run_dir: Path) -> None:
    """Also when it ignores every signal that can be ignored; the leak check looks for it."""
    grandchild = (
        "import signal; from actors.process import die_with_parent; die_with_parent();"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); tell(f'up {os.getpid()}'); signal.pause()"
    )
    parent = (
        "import sys, time; from actors.process import Child, Program;"
        f"Child(Program(name='g', argv=(sys.executable, '-c', {SPEAK + grandchild!r}))); time.sleep(1000)"
    )
    with Mailbox(run_dir / "mail") as mailbox:
        child = Child(script(parent, mailbox))
        await mailbox.expect("up")
        child.kill()
        await child.wait()


async def test_die_with_parent_that_has_ended_already_exits(run_dir: Path) -> None:
    """A parent that dies between fork and the call must not be missed."""
    code = (
        f"from actors.process import die_with_parent;os.environ['{PARENT_PID}'] = '1'; die_with_parent(); tell('alive')"
    )
    with Mailbox(run_dir / "mail") as mailbox:
        child = Child(script(code, mailbox))
        with trio.fail_after(60):
            assert await child.wait() == 1


async def test_die_with_parent_consumes_its_variable(run_dir: Path) -> None:
    """A grandchild would take its grandparent for its parent, and exit."""
    code = f"from actors.process import die_with_parent; die_with_parent(); tell(str('{PARENT_PID}' in os.environ))"
    with Mailbox(run_dir / "mail") as mailbox:
        child = Child(script(code, mailbox))
        assert await mailbox.next() == "False"
        await child.wait()


async def test_set_title_shows_in_process_lists(run_dir: Path) -> None:
    """With or without the prefix, the title has it once."""
    code = "from actors.process import set_title; set_title('llamactor: x'); set_title('test'); tell('done'); input()"
    with Mailbox(run_dir / "mail") as mailbox:
        child = Child(script(code.replace("input()", "import signal; signal.pause()"), mailbox))
        await mailbox.expect("done")
        assert title_of(child.pid) == "llamactor: test"
        child.kill()
        await child.wait()


def test_python_program_ignores_packages_in_the_working_directory(tmp_path: Path) -> None:
    """A user's folder called `actors` is not ours."""
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors" / "__init__.py").write_text("raise SystemExit(99)")
    code = (
        "import trio; from actors.process import Child, python_program;"
        "raise SystemExit(trio.run(Child(python_program('actors.errors')).wait))"
    )
    root = str(Path(__file__).parents[2])
    environ = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, env=environ, check=False)
    assert done.returncode == 0


def test_child_that_cannot_start_raises() -> None:
    """The caller decides what a missing program means."""
    with pytest.raises(OSError, match="nonexistent"):
        Child(Program(name="none", argv=("/nonexistent/program",)))


def test_collector_is_spared_what_there_was_and_still_finds_what_comes() -> None:
    """What existed before is not looked through any more; a cycle that is made and left later is freed."""

    class Node:
        pass

    freed: list[int] = []
    thresholds = gc.get_threshold()
    before = Node()
    try:
        spare_collector()
        assert not any(each is before for each in gc.get_objects())
        node = Node()
        node.__dict__["itself"] = node
        weakref.finalize(node, freed.append, 1)
        del node
        gc.collect()
        assert freed == [1]
        assert gc.get_threshold() > thresholds
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
