"""The command line: which benchmarks, how long, and where the report goes."""

import argparse
import dataclasses
import functools
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from actors.launcher.facts import n_usable_cores
from deploy.model import model_file
from tests.benchmarks import (
    busy_host,
    cold_start,
    embeddings,
    first_token,
    formats,
    front_end,
    holes,
    idle,
    leak,
    long_prompts,
    models,
    renders,
    rewriting,
    scheduling,
    second_model,
    streams,
    two_runners,
)
from tests.benchmarks.arena import open_arena
from tests.benchmarks.effort import FULL, QUICK, Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.llama_build import llama_server, version_of
from tests.benchmarks.report import markdown
from tests.benchmarks.results import Machine, Report, Section

_WITH_SERVERS = {
    each.NAME: each.run
    for each in (
        first_token,
        streams,
        long_prompts,
        rewriting,
        formats,
        embeddings,
        busy_host,
        second_model,
        leak,
        idle,
        cold_start,
    )
}
"""In this order: `idle` wants worked servers, and `cold_start` leaves a fresh runner."""
_OF_A_MODEL = {each.NAME: each.run for each in (holes, models, renders, two_runners)}
_NAMES = [*_WITH_SERVERS, *_OF_A_MODEL, front_end.NAME, scheduling.NAME]
_FAILED, _NOT_MEASURED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and give the exit status."""
    options = _parser().parse_args(arguments)
    options.only = options.only or _NAMES
    signal.signal(signal.SIGTERM, _exit)  # so that the servers are stopped
    try:
        report = _measure(options)
    except NotMeasured as error:
        sys.stderr.write(f"Error: {error}\n")
        return _NOT_MEASURED
    sys.stdout.write(markdown(report))
    if options.out:
        options.out.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if any(section.error for section in report.sections):
        return _NOT_MEASURED
    return 0 if all(gate.passed for section in report.sections for gate in section.gates) else _FAILED


def _measure(options: argparse.Namespace) -> Report:
    effort: Effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = dataclasses.replace(effort, rounds=options.rounds)
    if not options.model.is_file() and set(options.only) != {scheduling.NAME}:
        raise NotMeasured(f"there is no model file {options.model}: run `make setup`, or name one with --model")
    binary = llama_server() if set(options.only) & set(_WITH_SERVERS) else None
    machine = _machine(options.model, binary)
    sections = tuple(_sections(options.only, options.model, binary, effort))
    return Report(machine=machine, rounds=effort.rounds, is_quick=options.quick, sections=sections)


def _sections(names: Sequence[str], model: Path, binary: Path | None, effort: Effort) -> Iterator[Section]:
    if binary is not None:
        with open_arena(model, binary) as arena:
            for name, run in _WITH_SERVERS.items():
                if name in names:
                    yield _section(name, functools.partial(run, arena, effort))
    for name, run_alone in _OF_A_MODEL.items():
        if name in names:
            yield _section(name, functools.partial(run_alone, model, effort))
    if front_end.NAME in names:
        yield _section(front_end.NAME, functools.partial(front_end.run, effort))
    if scheduling.NAME in names:
        yield _section(scheduling.NAME, functools.partial(scheduling.run, effort))


def _section(name: str, run: Callable[[], Section]) -> Section:
    """Run one benchmark; its failure does not take what others measured along."""
    try:
        return run()
    except (NotMeasured, OSError) as error:
        return Section(name=name, title=name, error=str(error))


def _machine(model: Path, binary: Path | None) -> Machine:
    parts = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    return Machine(
        processor={label.strip(): value.strip() for label, _, value in parts}.get("model name", platform.machine()),
        n_cores=n_usable_cores(),
        kernel=platform.release(),
        load_average=os.getloadavg()[0],
        model=model.name,
        llama_server=version_of(binary) if binary else "not used",
    )


def _exit(*_signal: object) -> NoReturn:
    sys.exit(_NOT_MEASURED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description="Compare llamactor with llama-server.")
    parser.add_argument("--quick", action="store_true", help="short measurements, whose figures are only indicative")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"rounds (default: {FULL.rounds}, quick {QUICK.rounds})"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=_NAMES,
        default=[],
        metavar="NAME",
        help=f"of {', '.join(_NAMES)}; repeatable",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures there as JSON")
    given = os.environ.get("LLAMACTOR_TEST_MODEL")
    parser.add_argument(
        "--model", type=Path, metavar="FILE", default=Path(given) if given else model_file(), help="GGUF file to serve"
    )
    return parser
