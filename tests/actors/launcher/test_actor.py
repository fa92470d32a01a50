"""The launcher as a real process: orders, deaths, draining."""

import os
import signal
from pathlib import Path

import msgspec
import pytest

from actors.errors import Draining, LoadFailed
from actors.messages.job import JobBody, RawPrompt
from actors.messages.launcher_to_scheduler import LauncherDraining, LauncherHello, RunnerExited
from actors.messages.runner_to_scheduler import JobEnded, Outcome
from actors.messages.scheduler_to_launcher import KillRunner
from actors.messages.scheduler_to_runner import Start
from actors.pidfd import ProcessRef
from actors.process import Child
from actors.transport import Kind, Socket
from tests.support.launcher_at_work import LauncherAtWork, LauncherMaker
from tests.support.process_tree import descendants, find, title_of
from tests.support.stub_runner import CRASH_STATUS
from tests.support.stub_scheduler import StubScheduler

pytestmark = pytest.mark.processes


async def test_launcher_says_hello_with_spare_renderer_and_facts_ready(launchers: LauncherMaker) -> None:
    """The hello comes when the preload is done, and names no runner."""
    async with launchers.start() as launcher:
        assert launcher.hello.runner_ids == ()
        assert launcher.hello.host.n_cores >= 1
        assert 0 < launcher.hello.host.memory_available_bytes <= launcher.hello.host.memory_total_bytes
        assert title_of(launcher.child.pid) == "llamactor: launcher"
        assert await launcher.wait_for("runner (idle)")
        assert await launcher.wait_for("renderer")
        assert await launcher.wait_for("forkserver")


async def test_start_runner_uses_the_spare_and_makes_a_new_one(launchers: LauncherMaker) -> None:
    """The runner is the process that idled before; another one idles soon."""
    async with launchers.start() as launcher:
        spare = await launcher.wait_for("runner (idle)")
        runner = await launcher.start("r-1")
        assert runner == spare
        assert await launcher.wait_for("runner (idle)") != runner


async def test_start_runner_without_spare_forks_one(launchers: LauncherMaker) -> None:
    """Two runners ordered at once both start, though only one spare idled."""
    async with launchers.start() as launcher:
        await launcher.start("r-1", "stub:a")
        await launcher.start("r-2", "stub:b")


async def test_start_runner_twice_makes_one_process(launchers: LauncherMaker) -> None:
    """An order is idempotent per runner id."""
    async with launchers.start() as launcher:
        runner = await launcher.start("r-1")
        launcher.order("r-1")
        await launcher.start("r-2", "stub:second")
        assert find(launcher.child.pid, "runner stub:") == [runner, launcher.pid_of("runner stub:second")]


async def test_start_runner_after_its_end_reports_the_end_again(launchers: LauncherMaker) -> None:
    """A late duplicate of an order starts nothing."""
    async with launchers.start() as launcher:
        runner = await launcher.start("r-1")
        os.kill(runner, signal.SIGKILL)
        for _ in range(2):
            _, exited = await launcher.scheduler.expect(RunnerExited)
            assert (exited.runner_id, exited.exit_code) == ("r-1", -signal.SIGKILL)
            launcher.order("r-1")


async def test_start_runner_with_a_path_as_id_is_refused(launchers: LauncherMaker) -> None:
    """An id becomes part of a file name, so it may not lead elsewhere."""
    async with launchers.start() as launcher:
        launcher.order("../../etc/x")
        _, exited = await launcher.scheduler.expect(RunnerExited)
        assert exited.failure is not None
        assert exited.failure.code == LoadFailed.code


async def test_start_runner_takes_another_process_when_the_spare_just_died(launchers: LauncherMaker) -> None:
    """A spare that dies just before it is needed costs no load, seen by the launcher's loop or not."""
    async with launchers.start() as launcher:
        spare = ProcessRef(await launcher.wait_for("runner (idle)"))
        spare.send(signal.SIGKILL)
        await spare.wait()
        spare.close()
        await launcher.start("r-1")


async def test_kill_runner_kills_and_reports(launchers: LauncherMaker) -> None:
    """The order ends the process with SIGKILL and removes its socket."""
    async with launchers.start() as launcher:
        await launcher.start("r-1", "stub:ignore_sigterm")
        socket_file = launcher.run_dir / "runner-r-1.sock"
        assert socket_file.is_socket()
        launcher.scheduler.send(launcher.launcher_id, KillRunner(runner_id="r-1", reason="test"))
        _, exited = await launcher.scheduler.expect(RunnerExited)
        assert exited == RunnerExited(runner_id="r-1", exit_code=-signal.SIGKILL)
        assert not socket_file.exists()


async def test_kill_runner_with_unknown_id_is_answered(launchers: LauncherMaker) -> None:
    """The scheduler waits for the answer before it resubmits jobs, so one always comes."""
    async with launchers.start() as launcher:
        launcher.scheduler.send(launcher.launcher_id, KillRunner(runner_id="nobody", reason="test"))
        _, exited = await launcher.scheduler.expect(RunnerExited)
        assert exited.runner_id == "nobody"


async def test_runner_crash_while_loading_is_reported_with_its_status(launchers: LauncherMaker) -> None:
    """A death is reported at once, from the process table and not from silence."""
    async with launchers.start() as launcher:
        launcher.order("r-1", "stub:crash_load")
        _, exited = await launcher.scheduler.expect(RunnerExited)
        assert exited == RunnerExited(runner_id="r-1", exit_code=CRASH_STATUS)


async def test_new_scheduler_is_told_of_the_running_runners(launchers: LauncherMaker) -> None:
    """After the scheduler's death the next one learns from the hello what runs."""
    async with launchers.start() as launcher:
        await launcher.start("r-1")
        launcher.scheduler.close()
        with StubScheduler(launchers.endpoint, epoch="epoch-2") as successor:
            _, hello = await successor.expect(LauncherHello)
            assert hello.runner_ids == ("r-1",)


async def test_runner_raises_its_oom_score(launchers: LauncherMaker) -> None:
    """Short of memory, the kernel shall take a runner and not the launcher."""
    async with launchers.start() as launcher:
        runner = await launcher.start("r-1")
        assert oom_score(runner) > oom_score(launcher.child.pid)


async def test_renderer_that_died_is_replaced(launchers: LauncherMaker) -> None:
    """A template that overruns kills the renderer; the next one comes at once."""
    async with launchers.start() as launcher:
        renderer = await launcher.wait_for("renderer")
        os.kill(renderer, signal.SIGKILL)
        assert await launcher.wait_for("renderer", other_than=renderer)


async def test_forkserver_that_died_takes_its_runners_and_is_replaced(launchers: LauncherMaker) -> None:
    """Nothing outlives the forkserver, every runner's end is reported, and the next order works."""
    async with launchers.start() as launcher:
        runner = await launcher.start("r-1")
        forkserver = await launcher.wait_for("forkserver")
        ref = ProcessRef(runner)
        os.kill(forkserver, signal.SIGKILL)
        _, exited = await launcher.scheduler.expect(RunnerExited)
        assert exited.runner_id == "r-1"
        assert ref.has_ended()
        ref.close()
        await launcher.start("r-2", "stub:again")


async def test_forkserver_does_not_mind_sigterm(launchers: LauncherMaker) -> None:
    """A SIGTERM to everything must not take draining runners along."""
    async with launchers.start() as launcher:
        runner = await launcher.start("r-1")
        os.kill(await launcher.wait_for("forkserver"), signal.SIGTERM)
        await launcher.start("r-2", "stub:other")
        assert title_of(runner) == "llamactor: runner stub:"


async def test_killed_launcher_leaves_nothing(launchers: LauncherMaker) -> None:
    """All die with a launcher that was killed with SIGKILL, a runner too that can do nothing for it itself."""
    async with launchers.start() as launcher:
        runner = await launcher.start("r-1", "stub:ignore_sigterm")
        os.kill(runner, signal.SIGSTOP)
        await launcher.wait_for("renderer")
        await launcher.wait_for("runner (idle)")
        family = [ProcessRef(pid) for pid in descendants(launcher.child.pid)]
        assert len(family) >= 4
        launcher.child.kill()
        await launcher.wait()
        for ref in family:
            assert ref.wait_blocking(timeout_s=60)
            ref.close()


async def test_launcher_after_a_killed_one_cleans_up_and_works(launchers: LauncherMaker) -> None:
    """Sockets, pid files and multiprocessing's folders of an earlier life are removed."""
    async with launchers.start() as launcher:
        await launcher.start("r-1")
        launcher.child.kill()
        await launcher.wait()
    assert (launchers.run_dir / "runner-r-1.sock").exists()
    async with launchers.start() as launcher:
        assert not (launchers.run_dir / "runner-r-1.sock").exists()
        assert len(list(launchers.run_dir.glob("pymp-*"))) == 1
        await launcher.start("r-2")


async def test_sigterm_drains_runners_and_leaves_no_file(launchers: LauncherMaker) -> None:
    """A job in flight ends, then its runner, then the launcher with status 0; sockets and pid files are gone."""
    async with launchers.start() as launcher:
        await launcher.start("r-1", "stub:tokens=20,pace=0.02")
        with Socket(Kind.XSUB) as xsub:
            await begin_job(launcher, xsub)
            launcher.child.terminate()
            await launcher.scheduler.expect(LauncherDraining)
            launcher.order("r-2")
            _, refused = await launcher.scheduler.expect(RunnerExited)
            assert refused.runner_id == "r-2"
            assert refused.failure is not None
            assert refused.failure.code == Draining.code
            _, ended = await launcher.scheduler.expect(JobEnded)
            assert ended.outcome is Outcome.FINISHED
        _, exited = await launcher.scheduler.expect(RunnerExited)
        assert exited == RunnerExited(runner_id="r-1", exit_code=0)
        assert await launcher.wait() == 0
    left = {path.name for path in launchers.run_dir.iterdir()} - {"scheduler.sock", "launcher.lock"}
    assert not left


async def test_sigterm_kills_what_does_not_drain_in_time(launchers: LauncherMaker) -> None:
    """A runner that ignores SIGTERM is killed after the drain timeout; the launcher still ends with status 0."""
    async with launchers.start(LLAMACTOR_DRAIN_TIMEOUT="200ms") as launcher:
        await launcher.start("r-1", "stub:ignore_sigterm")
        launcher.child.terminate()
        _, exited = await launcher.scheduler.expect(RunnerExited)
        assert exited.exit_code == -signal.SIGKILL
        assert await launcher.wait() == 0


async def test_second_signal_kills_at_once(launchers: LauncherMaker) -> None:
    """Whoever is impatient gets their terminal back, long before the drain timeout."""
    async with launchers.start(LLAMACTOR_DRAIN_TIMEOUT="1h") as launcher:
        await launcher.start("r-1", "stub:ignore_sigterm")
        launcher.child.terminate()
        await launcher.scheduler.expect(LauncherDraining)
        launcher.child.terminate()
        assert await launcher.wait() == 0


async def test_ctrl_c_of_the_whole_group_drains(launchers: LauncherMaker) -> None:
    """SIGINT reaches launcher, forkserver and runners at once; only the launcher acts on it."""
    async with launchers.start() as launcher:
        await launcher.start("r-1", "stub:tokens=10,pace=0.02")
        with Socket(Kind.XSUB) as xsub:
            await begin_job(launcher, xsub)
            launcher.interrupt()
            _, ended = await launcher.scheduler.expect(JobEnded)
            assert ended.outcome is Outcome.FINISHED
        assert await launcher.wait() == 0


async def test_second_launcher_in_a_run_folder_is_refused(launchers: LauncherMaker) -> None:
    """The lock keeps a second launcher from reaping the first one's processes."""
    async with launchers.start() as launcher:
        second = Child(launchers.program())
        assert await second.wait() == 1
        await launcher.start("r-1")


def oom_score(pid: int) -> int:
    """Give what is added to a process's badness."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def begin_job(launcher: LauncherAtWork, xsub: Socket) -> None:
    """Start a job on runner r-1 and wait until its first part has arrived."""
    xsub.connect(f"ipc://{launcher.run_dir}/runner-r-1.sock")
    xsub.send_nowait([b"\x01gateway-a"])
    body = msgspec.msgpack.encode(JobBody(prompt=RawPrompt(text="hi")))
    start = Start(epoch="epoch-1", job_id="j-1", attempt=1, gateway_id="gateway-a")
    launcher.scheduler.send("r-1", start, body)
    await xsub.receive()
