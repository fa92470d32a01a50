"""Where models are loaded: replicas, warm prefixes, devices, and what is learned from loads."""

from actors.errors import LoadOutOfMemory
from actors.messages.model import HostFacts
from actors.messages.runner_to_scheduler import RunnerLoadFailed, RunnerReady
from actors.messages.scheduler_to_gateway import Granted, Refused
from actors.messages.scheduler_to_runner import Drain
from actors.scheduler import deadlines
from actors.scheduler.states import RunnerLife
from tests.actors.scheduler.stage import GIB, Stage, device, host, model

LARGE = {"weights_bytes": 7 * GIB}


def drained(stage: Stage) -> list[str]:
    """List the runners told to drain so far."""
    return [send.peer for send in stage.sends if isinstance(send.message, Drain)]


def two_devices() -> HostFacts:
    """Describe a host with two devices."""
    return host(devices=(device(0), device(1)))


def granted_to(stage: Stage, job_id: str) -> str:
    """Tell who got a job."""
    return next(each.runner_id for each in reversed(stage.sent("gw", Granted)) if each.job_id == job_id)


# Replicas.


def test_deep_line_gets_a_replica_on_an_idle_device() -> None:
    """Eight more than the slots hold, while the second device does nothing."""
    stage = Stage(num_parallel=2)
    stage.open(two_devices())
    first = stage.run_model()
    for number in range(4):
        stage.submit(f"job-{number}")
    [_, order] = stage.started()
    assert stage.runner(order.runner_id).cause.startswith("replica 2")
    assert set(stage.runner(first).share.device_bytes) != set(stage.runner(order.runner_id).share.device_bytes)
    stage.come_up(order.runner_id)
    assert len(stage.runner(order.runner_id).held) == 2


def test_deep_line_on_a_busy_host_gets_no_replica(stage: Stage) -> None:
    """It would take the cores from the runner that it is to help."""
    stage.run_model()
    for number in range(30):
        stage.submit(f"job-{number}")
    assert len(stage.started()) == 1


def test_replica_on_the_host_takes_no_memory_that_a_busy_runner_has() -> None:
    """Found by random lives: the busy one was hidden, and the replica placed as if it were alone on its host."""
    stage = Stage(num_parallel=2)
    stage.open(host(total_bytes=12 * GIB, devices=(device(0), device(1))))
    spec = model(weights_bytes=7 * GIB)
    stage.run_model(spec, num_gpu=0)
    for number in range(8):
        stage.submit(f"job-{number}", spec, num_gpu=0)
    assert len(stage.started()) == 1


def test_short_line_gets_no_replica() -> None:
    """The line is served before another runner was loaded."""
    stage = Stage(num_parallel=4)
    stage.open(two_devices())
    stage.run_model()
    for number in range(6):
        stage.submit(f"job-{number}")
    assert len(stage.started()) == 1


def test_replica_evicts_what_is_cheaper_than_the_line_is_long() -> None:
    """A model that nobody wants goes, on the devices that are idle."""
    stage = Stage(num_parallel=1, max_loaded_models=9)
    stage.open(two_devices())
    fat = {"weights_bytes": 14 * GIB}
    other = stage.run_model(model("other", **fat))
    stage.run_model(model("busy", **fat))
    stage.core.world.record(model("other"))._used_s = -1e5  # long ago
    for number in range(20):
        stage.submit(f"job-{number}", model("busy", **fat))
    assert drained(stage) == [other]


# Warm prefixes.


def replicas(stage: Stage) -> tuple[str, str]:
    """Have the same model loaded twice."""
    stage.open(two_devices())
    first = stage.run_model()
    for number in range(6):
        stage.submit(f"fill-{number}")
    second = stage.started()[-1].runner_id
    stage.come_up(second)
    while busy := [each for each in (first, second) if stage.runner(each).held]:
        stage.finish(busy[0], next(iter(stage.runner(busy[0]).held)))
    return first, second


def test_job_goes_where_its_prefix_is_warmest() -> None:
    """The runner that knows the longer beginning, also when it is busier."""
    stage = Stage(num_parallel=2)
    first, second = replicas(stage)
    stage.submit("a", prefixes=(1, 2))
    stage.submit("b", prefixes=(1, 3))
    warm = granted_to(stage, "a")
    other = second if warm == first else first
    assert granted_to(stage, "b") == warm  # it shares the shorter beginning
    stage.finish(warm, "b")
    stage.submit("c", prefixes=(9,))
    assert granted_to(stage, "c") == other
    stage.submit("d", prefixes=(1, 2, 4))
    assert granted_to(stage, "d") == warm


def test_job_whose_warm_runner_is_full_goes_elsewhere() -> None:
    """Waiting would cost more than a prefill."""
    stage = Stage(num_parallel=1)
    replicas(stage)
    stage.submit("a", prefixes=(1,))
    stage.submit("b", prefixes=(1,))
    assert granted_to(stage, "a") != granted_to(stage, "b")


# Suspects.


def test_jobs_that_lost_a_runner_run_one_at_a_time_beside_others(stage: Stage) -> None:
    """The guilty one cannot take the same innocent one along twice."""
    runner_id = stage.run_model()
    stage.submit("guilty", n_losses=1)
    stage.submit("innocent", n_losses=1)
    stage.submit("fresh")
    assert set(stage.runner(runner_id).held) == {"guilty", "fresh"}
    stage.finish(runner_id, "guilty")
    assert set(stage.runner(runner_id).held) == {"innocent", "fresh"}


# Learning.


def test_load_measures_what_the_next_one_will_take(stage: Stage) -> None:
    """An estimate that was too low is replaced."""
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    stage.hear(
        start.runner_id, RunnerReady(load_s=1, size_bytes=start.plan.size_bytes + 300_000_000, size_vram_bytes=0)
    )
    stage.finish(start.runner_id, "job")
    stage.unload()
    stage.exit(start.runner_id)
    stage.submit("again")
    assert stage.started()[-1].plan.size_bytes == start.plan.size_bytes + 300_000_000


def test_runner_that_claims_more_than_there_is_is_not_believed(stage: Stage) -> None:
    """A lie shuts no other model out."""
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    stage.hear(start.runner_id, RunnerReady(load_s=1, size_bytes=1 << 60, size_vram_bytes=1 << 61))
    assert stage.runner(start.runner_id).share.total_bytes == start.plan.size_bytes
    stage.submit("other", model("other"))
    assert len(stage.started()) == 2


# Out of memory.


def run_out(stage: Stage, runner_id: str) -> None:
    """Let a load run out of memory."""
    stage.say_hello(runner_id)
    stage.hear(runner_id, RunnerLoadFailed(failure=LoadOutOfMemory("failed to allocate 9 GB").as_failure()))
    stage.exit(runner_id, 1)


def test_load_that_ran_out_of_memory_is_tried_alone_with_a_smaller_context(stage: Stage) -> None:
    """Others are evicted, nobody is refused."""
    other = stage.run_model(model("other"))
    stage.submit("job", model("large", **LARGE))
    run_out(stage, stage.started()[-1].runner_id)
    assert stage.sent("gw", Refused) == []
    assert drained(stage) == [other]
    stage.exit(other)
    order = stage.started()[-1]
    assert (order.model.name, order.plan.num_ctx) == ("large", 2048)
    stage.come_up(order.runner_id)
    assert stage.runner(order.runner_id).held


def test_load_that_ran_out_of_memory_keeps_a_context_that_was_asked_for(stage: Stage) -> None:
    """It is tried once more as it is."""
    stage.submit("job", num_ctx=4000)
    run_out(stage, stage.started()[-1].runner_id)
    assert stage.started()[-1].plan.num_ctx == 4000


def test_load_that_ran_out_of_memory_twice_is_refused_with_the_figures(stage: Stage) -> None:
    """What it needs and what there is."""
    stage.submit("job")
    run_out(stage, stage.started()[-1].runner_id)
    run_out(stage, stage.started()[-1].runner_id)
    [refused] = stage.sent("gw", Refused)
    assert refused.failure.code == "insufficient_memory"
    assert "GB of memory but" in refused.failure.message
    assert len(stage.started()) == 2


def test_load_killed_by_the_system_counts_as_out_of_memory(stage: Stage) -> None:
    """Short of memory, the kernel takes a runner."""
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    stage.exit(start.runner_id, -9)
    assert stage.sent("gw", Refused) == []
    assert len(stage.started()) == 2


# Failures in a row.


def die(stage: Stage, runner_id: str) -> None:
    """Let a runner come up and die."""
    stage.come_up(runner_id)
    stage.exit(runner_id, -11)


def test_model_whose_runners_die_waits_longer_and_longer_for_the_next(stage: Stage) -> None:
    """At once the first time, then with a backoff."""
    die(stage, stage.run_model())
    stage.submit("a")
    die(stage, stage.started()[-1].runner_id)
    stage.submit("b")
    assert len(stage.started()) == 2
    stage.pass_time(0.3)
    assert len(stage.started()) == 3


def test_model_whose_runners_die_again_and_again_is_suspended(stage: Stage) -> None:
    """Requests are refused with the reason and when to come back; then one load is tried."""
    stage.submit("job")
    for number in range(5):
        stage.pass_time(5)
        die(stage, stage.started()[-1].runner_id)
        stage.submit(f"job-{number}")
    refused = stage.sent("gw", Refused)[-1]
    assert refused.failure.code == "model_suspended"
    assert "killed by signal 11" in refused.failure.message
    assert refused.failure.fields["retry_after_s"] == 30.0
    n_started = len(stage.started())
    stage.pass_time(31)
    stage.submit("later")
    assert len(stage.started()) == n_started + 1
    stage.come_up(stage.started()[-1].runner_id)
    stage.finish(stage.started()[-1].runner_id, "later")
    assert stage.core.world.record(model()).refusal(stage.now_s) is None
    assert stage.core.world.record(model()).n_deaths == 0


# The cluster.


def test_unserved_model_is_looked_at_again_when_its_turn_comes(stage: Stage) -> None:
    """Without any event, the alarm does it."""
    larger = {"weights_bytes": 9 * GIB}
    old = stage.run_model(model("a", **larger))
    stage.submit("runs", model("a", **larger))
    stage.submit("waits", model("b", **larger))
    stage.pass_time(deadlines.TURN_S + 1)
    assert stage.runner(old).life is RunnerLife.DRAINING


def test_load_in_a_large_cluster_finds_the_host_with_room() -> None:
    """Only the most promising hosts are looked at, and they suffice."""
    stage = Stage(max_loaded_models=99)
    stage.gateway()
    for number in range(30):
        stage.launcher(f"host-{number}", host(available_bytes=4 * GIB, total_bytes=4 * GIB))
    stage.launcher("large", host(available_bytes=30 * GIB, total_bytes=32 * GIB))
    stage.submit("job", model("huge", weights_bytes=20 * GIB))
    [start] = stage.started()
    assert stage.runner(start.runner_id).launcher_id == "large"


def test_load_that_fits_no_host_of_a_large_cluster_is_refused() -> None:
    """At once, although not all hosts are promising."""
    stage = Stage()
    stage.gateway()
    for number in range(30):
        stage.launcher(f"host-{number}", host(available_bytes=4 * GIB, total_bytes=4 * GIB))
    stage.submit("job", model("huge", weights_bytes=20 * GIB))
    [refused] = stage.sent("gw", Refused)
    assert refused.failure.code == "insufficient_memory"


def test_record_of_a_model_in_use_outlives_thousands_of_others(stage: Stage) -> None:
    """What is known of models is forgotten by use: the first that came is still known after 5,000 others."""
    world = stage.core.world
    world.record(model("used")).served(8.0)
    for number in range(5000):
        world.record(model(f"other-{number}"))
        world.record(model("used"))
    assert world.record(model("used")).usual_s == 8.0
    assert len(world.records) < 5000
