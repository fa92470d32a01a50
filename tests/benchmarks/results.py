"""What the benchmarks give: tables for people, figures for programs, gates for both."""

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table as it is printed."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must hold."""

    name: str
    figure: float
    limit: float
    unit: str
    is_at_least: bool
    """True iff the limit is a lower one."""
    passed: bool


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one benchmark."""

    name: str
    title: str
    error: str = ""
    """Why there is nothing more here; empty if all went well."""
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    gates: tuple[Gate, ...] = ()
    figures: tuple[dict[str, str | float], ...] = ()
    """Every measurement by itself."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on."""

    processor: str
    n_cores: int
    kernel: str
    load_average: float
    """Over the minute before the start: how busy others were."""
    model: str
    llama_server: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    machine: Machine
    rounds: int
    is_quick: bool
    sections: tuple[Section, ...]


def at_least(name: str, figure: float, limit: float, unit: str) -> Gate:
    """Make a gate with a lower limit."""
    return Gate(name=name, figure=figure, limit=limit, unit=unit, is_at_least=True, passed=figure >= limit)


def at_most(name: str, figure: float, limit: float, unit: str) -> Gate:
    """Make a gate with an upper limit."""
    return Gate(name=name, figure=figure, limit=limit, unit=unit, is_at_least=False, passed=figure <= limit)
