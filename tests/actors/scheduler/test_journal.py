"""The event log: bounded, without bodies, and good for a replay."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from actors.messages.gateway_to_scheduler import Submit
from actors.scheduler.events import Effect, Event, Received, Send, Tick
from actors.scheduler.journal import EVENTS_KEPT, load_dump
from actors.scheduler.replay import replay
from tests.actors.scheduler.stage import Stage, model


def texts(effects: list[Effect]) -> list[str]:
    """Write effects without payloads."""
    return [f"{each.peer} {each.message}" if isinstance(each, Send) else each.text for each in effects]


def test_journal_keeps_events_without_bodies(stage: Stage) -> None:
    """A log to replay, not a store; also where the job still waits."""
    stage.submit("job")
    _, event = list(stage.core.journal)[-1]
    assert isinstance(event, Received)
    assert isinstance(event.message, Submit)
    assert event.payload == ()
    stage.submit("waits", model("b", weights_bytes=1 << 33))
    assert b"body of a request" not in stage.core.journal.dump()


def test_journal_keeps_the_description_of_a_model_once(stage: Stage) -> None:
    """Most of a request is that; a changed one is another, and each request gets back what came with it."""
    asked = [model("a"), model("a"), model("a", weights_bytes=5), model("b"), model("a", weights_bytes=5), model("a")]
    for number, each in enumerate(asked):
        stage.submit(f"job-{number}", each)
    messages = [each.message for _, each in stage.core.journal if isinstance(each, Received)]
    assert [each.model for each in messages if isinstance(each, Submit)] == asked
    dump = stage.core.journal.dump()
    assert [
        event.message.model
        for _, event in load_dump(dump)[1]
        if isinstance(event, Received) and isinstance(event.message, Submit)
    ] == asked
    assert max(len(segment.models) for segment in stage.core.journal._segments()) == 4


def test_journal_is_bounded(stage: Stage) -> None:
    """Two segments at most."""
    for _ in range(3 * EVENTS_KEPT):
        stage.core.handle(Tick(), stage.now_s)
    assert EVENTS_KEPT <= len(stage.core.journal) <= 2 * EVENTS_KEPT


@examples(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=5, max_size=60))
def test_journal_replayed_gives_the_same_decisions(moves: list[int]) -> None:
    """From its first world on, whatever happened, also behind a segment's border."""
    stage = Stage(max_queue=4, num_parallel=2)
    stage.open()
    for _ in range(EVENTS_KEPT):
        stage.core.handle(Tick(), stage.now_s)
    seen: list[tuple[Event, list[str]]] = []
    original = stage.core.handle

    def watched(event: Event, now_s: float) -> list[Effect]:
        effects = original(event, now_s)
        seen.append((event, texts(effects)))
        return effects

    stage.core.handle = watched  # type: ignore[method-assign]  # the stage's own way in
    runner_id = stage.run_model()
    _move(stage, runner_id, moves, "job")
    replayed = [texts(effects) for _, _, effects in replay(*load_dump(stage.core.journal.dump()))]
    assert replayed[-len(seen) :] == [effects for _, effects in seen]


@examples(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=5, max_size=30), st.lists(st.integers(0, 5), min_size=5, max_size=30))
def test_journal_that_begins_in_a_busy_world_gives_the_same_decisions(before: list[int], after: list[int]) -> None:
    """What waited and what was held when the log begins is known to the replay."""
    stage = Stage(max_queue=12, num_parallel=2)
    stage.open()
    runner_id = stage.run_model()
    for number in range(6):
        stage.submit(f"first-{number}", tenant=str(number % 3), prefixes=(number, 7), n_losses=number // 5)
    _move(stage, runner_id, before, "early")
    for _ in range(2 * EVENTS_KEPT):
        stage.core.handle(Tick(), stage.now_s)
    first = stage.core.journal.first_world()
    assert first.jobs.keys() >= {each.job_id for each in first.queue}
    assert first.jobs.keys() == stage.core.world.jobs.keys()
    n_before = len(stage.sends)
    _move(stage, runner_id, after, "late")
    replayed = [each for _, _, effects in replay(*load_dump(stage.core.journal.dump())) for each in effects]
    sent = texts([*stage.sends[n_before:]])
    assert texts([each for each in replayed if isinstance(each, Send)]) == sent


def _move(stage: Stage, runner_id: str, moves: list[int], name: str) -> None:
    for number, move in enumerate(moves):
        job_ids = list(stage.core.world.jobs)
        if move <= 1:
            stage.submit(f"{name}-{number}", tenant=str(move))
        elif move == 2:
            stage.submit(f"{name}-{number}", model("other"))
        elif move == 3:
            for job_id in list(stage.runner(runner_id).held)[:1]:
                stage.finish(runner_id, job_id)
        elif move == 4 and job_ids:
            stage.cancel(job_ids[number % len(job_ids)])
        else:
            stage.pass_time(float(move))


def test_journal_of_a_file_is_replayed_by_a_program(stage: Stage, tmp_path: Path) -> None:
    """What was said and what was decided, line by line."""
    stage.submit("job")
    path = tmp_path / "events"
    path.write_bytes(stage.core.journal.dump())
    done = _replay_program(path)
    assert done.returncode == 0
    assert "gw: Submit(job_id='job'" in done.stdout
    assert "    to host: StartRunner(" in done.stdout


def test_replay_of_what_is_no_journal_says_so(tmp_path: Path) -> None:
    """A file that is not there and a damaged one are told of in one line."""
    path = tmp_path / "events"
    for content in (None, b"", b"no pickle", pickle.dumps(("no world", []))):
        if content is not None:
            path.write_bytes(content)
        done = _replay_program(path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: ")
        assert str(path) in done.stderr
        assert done.stderr.count("\n") == 1


def test_replay_ends_quietly_when_nobody_reads_on(stage: Stage, tmp_path: Path) -> None:
    """As behind a pipe into `head`."""
    for number in range(2000):
        stage.submit(f"job{number}")
    path = tmp_path / "events"
    path.write_bytes(stage.core.journal.dump())
    with subprocess.Popen(
        [sys.executable, "-m", "actors.scheduler.replay", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode == -signal.SIGPIPE


def _replay_program(path: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "actors.scheduler.replay", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
