"""Holes: does it matter which slots are busy? The engine by itself, without messages and HTTP.

llama.cpp decodes consecutive streams of a split cache in one pass and others one by one. Eight jobs fill all slots;
then all but those of a pattern are cancelled, and the rest decodes on.

`python -m tests.benchmarks.holes MODEL SECONDS` measures in a process of its own, which `run` starts.
"""

import statistics
import sys
import time
from pathlib import Path

import msgspec

from actors.codec import Codec
from actors.launcher.facts import n_usable_cores
from actors.messages.job import SamplingOptions
from actors.messages.model import JobRef, LoadPlan
from actors.messages.runner_to_gateway import Delta, Step
from runners.engine import Engine
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.outbox import Outbox
from tests.benchmarks.child import output_of
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.progress import progress
from tests.benchmarks.prompts import long_stories
from tests.benchmarks.results import Section, Table

NAME = "holes"
_N_SLOTS = 8
_PATTERNS = {
    "one slot: 0": (0,),
    "four in a row: 0-3": (0, 1, 2, 3),
    "four with holes: 0, 2, 4, 6": (0, 2, 4, 6),
    "six with holes: 0-2, 4-6": (0, 1, 2, 4, 5, 6),
    "all eight": tuple(range(_N_SLOTS)),
}
_NUM_CTX = 2048
_WARM_UP_STEPS = 5


def run(model_file: Path, effort: Effort) -> Section:
    """Measure every pattern in every round."""
    rates: dict[str, list[float]] = {pattern: [] for pattern in _PATTERNS}
    for number in range(effort.rounds):
        progress(f"{NAME}: round {number + 1} of {effort.rounds}")
        command = [sys.executable, "-m", "tests.benchmarks.holes", str(model_file), str(effort.holes_s)]
        for pattern, rate in msgspec.json.decode(output_of(command), type=dict[str, float]).items():
            rates[pattern].append(rate)
    rows = tuple((pattern, f"{statistics.median(found):.1f}") for pattern, found in rates.items())
    return Section(
        name=NAME,
        title="Holes between busy slots (engine alone)",
        tables=(Table(header=("busy slots", "tokens/s"), rows=rows),),
        figures=tuple({"pattern": pattern, "tokens_per_s": rate} for pattern, found in rates.items() for rate in found),
    )


def measure(model_file: Path, seconds: float) -> dict[str, float]:
    """Give the decode rate of each pattern in tokens per second."""
    start_backend()
    plan = LoadPlan(num_ctx=_NUM_CTX, n_slots=_N_SLOTS, n_threads=n_usable_cores())
    model = Model(str(model_file), plan)
    rates = {pattern: _rate(model, plan, slots, seconds) for pattern, slots in _PATTERNS.items()}
    model.close()
    return rates


def _rate(model: Model, plan: LoadPlan, slots: tuple[int, ...], seconds: float) -> float:
    codec: Codec[Step] = Codec(Step)
    started, ended = set[str](), set[str]()

    def hear(_gateway_id: str, frame: bytes) -> bool:
        started.update(part.job_id for part in codec.decode(frame).parts if isinstance(part, Delta))
        return True

    outbox = Outbox(hear)
    engine = Engine(model, plan, outbox, lambda ref, _outcome: ended.add(ref.job_id))
    engine.grow(_NUM_CTX)  # now, not in the middle of the measurement
    # A fresh engine fills its slots in ascending order, so a job's number is its slot's.
    for number, prompt in zip(range(_N_SLOTS), long_stories(), strict=False):
        engine.admit(_job(model, str(number), prompt))
    while len(started) < _N_SLOTS and not ended:
        engine.step()
        outbox.flush()
    cancelled = {str(number) for number in range(_N_SLOTS)} - {str(number) for number in slots}
    for name in cancelled:
        engine.cancel(name)
    rate = _steps_per_s(engine, outbox, seconds) * len(slots)
    if ended != cancelled:
        raise NotMeasured("an answer ended before the measurement did")
    engine.close()
    return rate


def _steps_per_s(engine: Engine, outbox: Outbox, seconds: float) -> float:
    for _ in range(_WARM_UP_STEPS):
        engine.step()
    n_steps, started_at = 0, time.perf_counter()
    while time.perf_counter() - started_at < seconds:
        engine.step()
        outbox.flush()
        n_steps += 1
    return n_steps / (time.perf_counter() - started_at)


def _job(model: Model, name: str, prompt: str) -> PreparedJob:
    return PreparedJob(
        ref=JobRef(name, 1, "bench"),
        prompt=model.tokenize(f"{prompt}\n\nChapter 1. Once upon a time there was a", add_special=True),
        sampling=SamplingOptions(temperature=0),
        max_new_tokens=_NUM_CTX // 2,
        stop=(),
        return_context=False,
    )


def main() -> None:
    """Measure the model file and for the seconds that the command line names."""
    model_file, seconds = sys.argv[1:]
    sys.stdout.write(msgspec.json.encode(measure(Path(model_file), float(seconds))).decode())


if __name__ == "__main__":
    main()
