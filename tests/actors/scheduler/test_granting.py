"""What is loaded, evicted and unloaded, and when."""

import pytest

from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.model import RunnerUse
from actors.messages.runner_to_scheduler import RunnerBeat, RunnerReady, RunnerState
from actors.messages.scheduler_to_gateway import Granted, Loaded, Refused
from actors.messages.scheduler_to_launcher import KillRunner
from actors.messages.scheduler_to_runner import Drain, KeepAlive, SetThreads
from actors.scheduler import deadlines
from actors.scheduler.states import RunnerLife
from actors.settings import FOREVER_S
from tests.actors.scheduler.stage import GIB, Stage, device, host, model

LARGE = {"weights_bytes": 7 * GIB}


def drained(stage: Stage) -> list[str]:
    """List the runners told to drain so far."""
    return [send.peer for send in stage.sends if isinstance(send.message, Drain)]


# Loads.


def test_load_of_two_models_runs_side_by_side(stage: Stage) -> None:
    """Neither waits for the other."""
    stage.submit("a", model("a"))
    stage.submit("b", model("b"))
    assert [start.model.name for start in stage.started()] == ["a", "b"]


def test_load_counts_what_loading_runners_will_take() -> None:
    """Two models that fit only one after the other are not loaded at once; the second waits for the first to idle."""
    stage = Stage()
    stage.open()
    stage.submit("a", model("a", **LARGE))
    stage.submit("b", model("b", **LARGE))
    assert [start.model.name for start in stage.started()] == ["a"]


def test_load_beyond_the_number_allowed_evicts_the_idle_one() -> None:
    """OLLAMA_MAX_LOADED_MODELS; the new one starts when the old one's process has ended."""
    stage = Stage(max_loaded_models=1)
    stage.open()
    old = stage.run_model(model("a"))
    stage.submit("b", model("b"))
    assert drained(stage) == [old]
    assert len(stage.started()) == 1
    stage.exit(old)
    assert [start.model.name for start in stage.started()] == ["a", "b"]


@pytest.mark.parametrize(("n_devices", "n_allowed"), [(0, 3), (1, 3), (2, 6)])
def test_load_without_a_setting_allows_three_per_device(n_devices: int, n_allowed: int) -> None:
    """As Ollama does; three on a host without devices."""
    stage = Stage()
    stage.open(host(devices=tuple(device(index) for index in range(n_devices))))
    for number in range(n_allowed):
        stage.run_model(model(str(number), n_ctx_train=128))
    stage.submit("job", model("one more"))
    assert len(stage.started()) == n_allowed
    assert len(drained(stage)) == 1


def test_load_that_needs_memory_evicts_as_few_as_suffice() -> None:
    """The least recently used goes first, and what would go in vain stays."""
    stage = Stage(max_loaded_models=9)
    stage.open()
    stage.run_model(model("tiny"))
    stage.now_s += 1
    large = stage.run_model(model("large", **LARGE))
    stage.submit("job", model("new", **LARGE))
    assert drained(stage) == [large]


def test_load_never_evicts_a_runner_with_a_job_in_flight() -> None:
    """It waits until the job has ended."""
    stage = Stage(max_loaded_models=1)
    stage.open()
    old = stage.run_model(model("a"))
    stage.submit("runs", model("a"))
    stage.submit("waits", model("b"))
    stage.pass_time(deadlines.TURN_S - 1)
    assert drained(stage) == []
    stage.finish(old, "runs")
    assert drained(stage) == [old]


def test_load_does_not_evict_a_runner_whose_queue_can_use_it() -> None:
    """Slots are given out before anything is evicted."""
    stage = Stage(max_loaded_models=1, num_parallel=1)
    stage.open()
    old = stage.run_model(model("a"))
    stage.submit("runs", model("a"))
    stage.submit("other", model("b"))
    stage.submit("next", model("a"))
    stage.finish(old, "runs")
    assert drained(stage) == []
    assert stage.sent("gw", Granted)[-1].job_id == "next"


def test_load_that_waited_its_turn_drains_a_busy_runner_without_cutting_it() -> None:
    """A model under constant load does not starve the others for ever."""
    stage = Stage(max_loaded_models=1)
    stage.open()
    old = stage.run_model(model("a"))
    stage.submit("runs", model("a"))
    stage.submit("waits", model("b"))
    stage.pass_time(deadlines.TURN_S + 1)
    assert drained(stage) == [old]
    stage.submit("late", model("a"))
    stage.pass_time(60)
    assert stage.runner(old).held
    stage.finish(old, "runs")
    stage.exit(old)
    assert stage.started()[-1].model.name == "b"


def test_load_evicts_nothing_more_while_room_is_being_made() -> None:
    """The memory of a leaving runner is counted on."""
    stage = Stage(max_loaded_models=2)
    stage.open()
    stage.run_model(model("a"))
    stage.run_model(model("b"))
    stage.submit("1", model("c"))
    stage.submit("2", model("c"))
    stage.pass_time(2)
    assert len(drained(stage)) == 1


def test_load_promised_room_is_not_given_to_the_next() -> None:
    """Two models that wait for two places evict two, and each gets its own."""
    stage = Stage(max_loaded_models=2)
    stage.open()
    old = [stage.run_model(model("a")), stage.run_model(model("b"))]
    stage.submit("1", model("c"))
    stage.submit("2", model("d"))
    assert sorted(drained(stage)) == sorted(old)
    for runner_id in old:
        stage.exit(runner_id)
    assert [start.model.name for start in stage.started()][2:] == ["c", "d"]


def test_load_of_a_model_that_fits_no_empty_host_is_refused_before_anything_is_evicted(stage: Stage) -> None:
    """The error says how much is needed and how much there is."""
    stage.run_model(model("a"))
    stage.submit("job", model("huge", weights_bytes=99 * GIB))
    [refused] = stage.sent("gw", Refused)
    assert refused.failure.code == "insufficient_memory"
    needed, available = refused.failure.fields["needed_bytes"], refused.failure.fields["available_bytes"]
    assert isinstance(needed, int)
    assert isinstance(available, int)
    assert needed > 99 * GIB > available > 0
    assert drained(stage) == []


def test_load_of_the_only_model_is_tried_with_fewer_slots() -> None:
    """A small machine serves one request at a time rather than none."""
    stage = Stage()
    stage.open(host(available_bytes=3 * GIB, total_bytes=8 * GIB))
    stage.submit("job", model(weights_bytes=2 * GIB, n_ctx_train=4096, kv_bytes_per_token=131_072))
    [start] = stage.started()
    assert start.plan.n_slots == 1
    assert start.plan.num_ctx == 4096


def test_load_waits_for_a_launcher() -> None:
    """A restarting launcher is waited for; the queue's deadline still holds."""
    stage = Stage(queue_timeout_s=30.0)
    stage.gateway()
    stage.submit("job")
    stage.pass_time(10)
    assert stage.sent("gw", Refused) == []
    stage.launcher()
    assert len(stage.started()) == 1


def test_load_on_several_hosts_prefers_one_that_needs_no_eviction() -> None:
    """Each launcher is a host of its own."""
    stage = Stage(max_loaded_models=9)
    stage.gateway()
    stage.launcher("full", host(available_bytes=GIB, total_bytes=4 * GIB))
    stage.launcher("empty", host())
    stage.submit("job", model("a", weights_bytes=2 * GIB))
    assert [send.peer for send in stage.sends if send.message in stage.started()] == ["empty"]


def test_load_on_several_full_hosts_takes_the_one_whose_victim_is_cheapest() -> None:
    """Not the first with as few victims: the model that is used often stays."""
    stage = Stage(max_loaded_models=9)
    stage.gateway()
    often, rarely, third = (model(name, weights_bytes=9 * GIB) for name in ("often", "rarely", "third"))
    stage.launcher("first")
    used = stage.run_model(often)
    stage.launcher("second")
    unused = stage.run_model(rarely)
    for number in range(4):
        stage.submit(f"job-{number}", often)
        stage.finish(used, f"job-{number}")
    stage.submit("job", third)
    assert stage.runner(used).life is RunnerLife.READY
    assert stage.runner(unused).life is RunnerLife.DRAINING


# Options.


def test_request_with_a_smaller_context_uses_the_loaded_runner(stage: Stage) -> None:
    """No reload for what fits."""
    stage.run_model(num_ctx=4096)
    stage.submit("job", num_ctx=2048)
    assert [granted.job_id for granted in stage.sent("gw", Granted)] == ["job"]


def test_request_with_a_larger_context_reloads_after_running_jobs_end(stage: Stage) -> None:
    """The old runner drains, the new one is loaded when it has ended, and nothing overtakes."""
    old = stage.run_model(num_ctx=2048)
    stage.submit("runs")
    stage.submit("larger", num_ctx=8192)
    assert drained(stage) == [old]
    stage.submit("later")
    stage.pass_time(10)
    assert len(stage.started()) == 1
    stage.finish(old, "runs")
    stage.exit(old)
    new = stage.started()[-1]
    assert new.plan.num_ctx == 8192
    stage.come_up(new.runner_id)
    assert [granted.job_id for granted in stage.sent("gw", Granted)] == ["runs", "larger", "later"]


def test_request_whose_options_fit_no_host_does_not_unload_what_runs(stage: Stage) -> None:
    """It is refused before the loaded runner is drained."""
    spec = model(n_ctx_train=1 << 40)
    stage.run_model(spec)
    stage.submit("job", spec, num_ctx=1 << 30)
    assert [refused.failure.code for refused in stage.sent("gw", Refused)] == ["insufficient_memory"]
    assert drained(stage) == []


# Inspections.


def test_inspection_waits_for_no_slot(stage: Stage) -> None:
    """All slots are taken and others wait for one: it goes to the runner all the same, and takes nobody's place."""
    runner_id = stage.run_model(model())
    n_slots = stage.runner(runner_id).plan.n_slots
    for number in range(n_slots + 2):
        stage.submit(f"job-{number}")
    assert isinstance(stage.submit("count", kind=JobKind.INSPECT)[-1], Granted)
    stage.finish(runner_id, "job-0")
    stage.finish(runner_id, "count")
    granted = [each.job_id for each in stage.sent("gw", Granted)]
    assert granted == [*(f"job-{number}" for number in range(n_slots)), "count", f"job-{n_slots}"]
    assert stage.runner(runner_id).n_slotless == 0


def test_inspection_takes_no_slot_from_others(stage: Stage) -> None:
    """As many generations as there are slots run beside it, and its time teaches nothing about theirs."""
    runner_id = stage.run_model(model())
    stage.submit("count", kind=JobKind.INSPECT)
    for number in range(stage.runner(runner_id).plan.n_slots):
        assert isinstance(stage.submit(f"job-{number}")[-1], Granted)
    assert not stage.runner(runner_id).has_free_slot
    usual_s = stage.core.world.records[model().key].usual_s
    stage.pass_time(50)
    stage.finish(runner_id, "count")
    assert stage.core.world.records[model().key].usual_s == usual_s


def test_inspection_takes_the_model_as_it_is_loaded(stage: Stage) -> None:
    """Other load options make nobody reload: a prompt has the same tokens."""
    stage.run_model(model(), num_ctx=2048)
    assert isinstance(stage.submit("count", kind=JobKind.INSPECT, num_ctx=8192)[-1], Granted)
    assert len(stage.started()) == 1


def test_inspection_loads_a_model_that_nobody_has(stage: Stage) -> None:
    """It waits for the load and is served with it; its runner does not expire meanwhile."""
    stage.submit("count", kind=JobKind.INSPECT, keep_alive_s=0.0)
    [start] = stage.started()
    stage.come_up(start.runner_id)
    assert [each.job_id for each in stage.sent("gw", Granted)] == ["count"]
    stage.pass_time(5)
    assert drained(stage) == []
    stage.finish(start.runner_id, "count")
    assert drained(stage) == [start.runner_id]


def test_inspections_beyond_what_a_runner_takes_wait_for_each_other(stage: Stage) -> None:
    """Each that ends lets the next in; one whose client leaves waits no longer."""
    runner_id = stage.run_model(model())
    for number in range(66):
        stage.submit(f"count-{number}", kind=JobKind.INSPECT)
    assert len(stage.sent("gw", Granted)) == 64
    stage.cancel("count-64")
    stage.finish(runner_id, "count-3")
    assert stage.sent("gw", Granted)[-1].job_id == "count-65"


# Keep-alive.


def test_idle_runner_is_unloaded_when_its_keep_alive_is_over(stage: Stage) -> None:
    """The allowance runs from the end of the last job."""
    runner_id = stage.run_model()
    stage.pass_time(200)
    stage.submit("job")
    stage.pass_time(200)
    stage.finish(runner_id, "job")
    stage.pass_time(299)
    assert drained(stage) == []
    stage.pass_time(1.5)
    assert drained(stage) == [runner_id]


def test_keep_alive_of_a_request_sticks_and_is_told_to_the_runner(stage: Stage) -> None:
    """Requests without one leave it alone."""
    runner_id = stage.run_model(keep_alive_s=60.0)
    stage.submit("job")
    stage.finish(runner_id, "job")
    assert stage.sent(runner_id, KeepAlive) == [KeepAlive(keep_alive_s=60.0)]
    stage.pass_time(61)
    assert drained(stage) == [runner_id]


def test_keep_alive_of_zero_unloads_when_the_last_job_ends(stage: Stage) -> None:
    """At once, without waiting for a tick."""
    runner_id = stage.run_model()
    stage.submit("one", keep_alive_s=0.0)
    stage.submit("two")
    stage.finish(runner_id, "one")
    assert drained(stage) == []
    stage.finish(runner_id, "two")
    assert drained(stage) == [runner_id]


def test_keep_alive_without_end_never_unloads(stage: Stage) -> None:
    """No alarm is set for it."""
    runner_id = stage.run_model(keep_alive_s=FOREVER_S)
    stage.pass_time(1000)
    assert drained(stage) == []
    stage.submit("load", kind=JobKind.LOAD, keep_alive_s=0.0)
    assert isinstance(stage.sent("gw", Loaded)[-1], Loaded)
    assert drained(stage) == [runner_id]


def test_keep_alive_shortened_takes_effect_at_its_new_end(stage: Stage) -> None:
    """The earlier alarm wins."""
    runner_id = stage.run_model()
    stage.submit("load", kind=JobKind.LOAD, keep_alive_s=5.0)
    stage.pass_time(6)
    assert drained(stage) == [runner_id]


# Unload.


def test_unload_of_an_idle_model_drains_it_and_counts_it(stage: Stage) -> None:
    """The answer says how many runners are concerned."""
    runner_id = stage.run_model()
    [_, unloading] = stage.unload()
    assert unloading.n_runners == 1  # type: ignore[attr-defined]  # an Unloading
    assert drained(stage) == [runner_id]


def test_unload_of_an_unknown_model_is_answered(stage: Stage) -> None:
    """Nothing to do is an answer, too."""
    [unloading] = stage.unload()
    assert unloading.n_runners == 0  # type: ignore[attr-defined]  # an Unloading


def test_unload_lets_running_and_waiting_jobs_end_first() -> None:
    """Who waited before the unload is served before it."""
    stage = Stage(num_parallel=1)
    stage.open()
    runner_id = stage.run_model()
    stage.submit("runs")
    stage.submit("waits")
    stage.unload()
    stage.finish(runner_id, "runs")
    assert drained(stage) == []
    stage.finish(runner_id, "waits")
    assert drained(stage) == [runner_id]


def test_unload_of_a_loading_model_that_nobody_waits_for_kills_it(stage: Stage) -> None:
    """Its load is for nobody."""
    stage.submit("job")
    stage.cancel("job")
    stage.unload()
    assert len(stage.sent("host", KillRunner)) == 1


def test_drained_runner_that_stays_is_killed(stage: Stage) -> None:
    """A drain without jobs has a deadline."""
    runner_id = stage.run_model()
    stage.unload()
    stage.pass_time(deadlines.DRAIN_EXIT_S + 0.1)
    assert [kill.runner_id for kill in stage.sent("host", KillRunner)] == [runner_id]


def test_drained_runner_that_did_not_hear_is_told_again(stage: Stage) -> None:
    """It still calls itself ready."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.unload()
    stage.pass_time(deadlines.DRAIN_REPEAT_S + 1.5)
    assert len(drained(stage)) > 1
    assert set(drained(stage)) == {runner_id}


# Cores.


def test_cores_are_divided_among_the_busy_and_given_back(stage: Stage) -> None:
    """Two busy runners on two cores get one each; the one that stays busy gets both again."""
    a, b = stage.run_model(model("a")), stage.run_model(model("b"))
    stage.submit("1", model("a"))
    stage.submit("2", model("b"))
    assert [stage.runner(each).n_threads for each in (a, b)] == [1, 1]
    stage.finish(a, "1")
    assert stage.runner(b).n_threads == 2
    assert stage.sent(b, SetThreads)[-1] == SetThreads(n_threads=2)


def test_cores_of_a_busy_runner_are_shared_with_a_load(stage: Stage) -> None:
    """A load computes, too; its plan says how many threads it may use."""
    a = stage.run_model(model("a"))
    stage.submit("1", model("a"))
    stage.submit("2", model("b"))
    assert stage.started()[-1].plan.n_threads == 1
    assert stage.runner(a).n_threads == 1
    assert stage.sent(a, SetThreads)[-1] == SetThreads(n_threads=1)


def test_cores_named_by_a_request_are_kept() -> None:
    """num_thread wins over the division, within the cores there are."""
    stage = Stage()
    stage.open(host(n_cores=8))
    runner_id = stage.run_model(num_thread=3)
    assert stage.started()[0].plan.n_threads == 3
    stage.submit("job", num_thread=5)
    assert stage.runner(runner_id).n_threads == 5


# Trouble with loads.


def test_load_past_its_deadline_is_killed_and_its_waiters_refused() -> None:
    """OLLAMA_LOAD_TIMEOUT."""
    stage = Stage(load_timeout_s=30.0)
    stage.open()
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    stage.pass_time(31)
    assert [(each.job_id, each.failure.code) for each in stage.sent("gw", Refused)] == [("job", "load_failed")]
    assert "OLLAMA_LOAD_TIMEOUT" in stage.sent("gw", Refused)[0].failure.message
    assert [kill.runner_id for kill in stage.sent("host", KillRunner)] == [start.runner_id]
    stage.exit(start.runner_id, -9)
    assert len(stage.started()) == 1


def test_load_by_a_runner_that_never_speaks_is_given_up(stage: Stage) -> None:
    """A process that does not say hello is killed."""
    stage.submit("job")
    stage.pass_time(deadlines.START_S + 1)
    assert [each.failure.code for each in stage.sent("gw", Refused)] == ["load_failed"]
    assert len(stage.sent("host", KillRunner)) == 1


def test_load_that_ends_ready_is_not_killed_at_its_deadline() -> None:
    """The deadline is one of the load only."""
    stage = Stage(load_timeout_s=30.0)
    stage.open()
    runner_id = stage.run_model()
    stage.pass_time(60)
    assert stage.runner(runner_id).life is RunnerLife.READY


def test_runner_measures_replace_the_estimate(stage: Stage) -> None:
    """What a load really used is what counts from then on."""
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    stage.hear(start.runner_id, RunnerReady(load_s=0.2, size_bytes=5 * GIB, size_vram_bytes=GIB))
    assert stage.runner(start.runner_id).share.total_bytes == 5 * GIB
    assert stage.runner(start.runner_id).share.host_bytes == 4 * GIB


def test_runner_with_a_stalled_decode_thread_is_killed(stage: Stage) -> None:
    """However alive its process looks."""
    runner_id = stage.run_model()
    stage.submit("job")
    use = RunnerUse(n_active=1, step_age_s=stage.core.world.settings.step_timeout_s + 1)
    stage.hear(runner_id, RunnerBeat(state=RunnerState.READY, use=use))
    assert [kill.runner_id for kill in stage.sent("host", KillRunner)] == [runner_id]
