"""Making files in child processes: followed to the end, told apart by how they fail, and never left behind."""

import os

import pytest

from actors.errors import ConversionFailed
from registry.workshop.child import Report, reports
from tests.support.stub_maker import StubOrder

pytestmark = pytest.mark.processes
MODULE = "tests.support.stub_maker"


def test_reports_come_as_they_are_told() -> None:
    """A child that succeeds just ends."""
    assert list(reports(MODULE, StubOrder())) == [Report(1, 2), Report(2, 2)]


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ("refuse", "the model could not be made: no such luck"),
        ("break", "ZeroDivisionError"),
        ("read", "/no/such/file: No such file or directory"),
        ("die", "its process ended with signal 9"),
    ],
)
def test_reports_failure_is_told(then: str, reason: str) -> None:
    """What the child raises, or what ended it."""
    with pytest.raises(ConversionFailed) as caught:
        list(reports(MODULE, StubOrder(then)))
    assert reason in caught.value.message


def test_reports_closed_early_leave_no_child() -> None:
    """The last report is repeated while the child is silent; whoever stops listening ends it."""
    steps = reports(MODULE, StubOrder("wait"))
    next(steps)
    pid = next(steps).completed
    assert next(steps) == Report(pid, 0)
    steps.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_reports_of_a_module_that_is_not_there() -> None:
    """A process that cannot even start is an error like others."""
    with pytest.raises(ConversionFailed, match="its process ended with status 1"):
        list(reports("tests.support.no_such_module", StubOrder()))
