"""The report as Markdown."""

from collections.abc import Iterator

from tests.benchmarks.results import Gate, Machine, Report, Section, Table


def markdown(report: Report) -> str:
    """Write the whole report; the gates come last."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    effort = "quick, figures are only indicative" if report.is_quick else "full"
    yield f"# llamactor beside llama-server ({effort}, {report.rounds} rounds)"
    yield ""
    yield from _machine_lines(report.machine)
    for section in report.sections:
        yield from _section_lines(section)
    gates = [gate for section in report.sections for gate in section.gates]
    if not gates:
        return
    yield ""
    yield "## Gates"
    yield ""
    yield from _table_lines(
        Table(header=("gate", "figure", "limit", ""), rows=tuple(_gate_row(gate) for gate in gates))
    )


def _machine_lines(machine: Machine) -> Iterator[str]:
    yield f"- processor: {machine.processor}, {machine.n_cores} cores; kernel {machine.kernel}"
    yield f"- load average before the start: {machine.load_average:.2f}"
    yield f"- model: {machine.model}"
    yield f"- llama-server: {machine.llama_server}"


def _section_lines(section: Section) -> Iterator[str]:
    yield ""
    yield f"## {section.title}"
    if section.error:
        yield ""
        yield f"Not measured: {section.error}"
    for table in section.tables:
        yield ""
        yield from _table_lines(table)
    if section.notes:
        yield ""
    for note in section.notes:
        yield f"- {note}"


def _table_lines(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.header)} |"
    yield f"|{'---|' * len(table.header)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"


def _gate_row(gate: Gate) -> tuple[str, ...]:
    sense = "≥" if gate.is_at_least else "≤"
    verdict = "pass" if gate.passed else "**FAIL**"
    return gate.name, f"{gate.figure:.3g} {gate.unit}", f"{sense} {gate.limit:.3g} {gate.unit}", verdict
