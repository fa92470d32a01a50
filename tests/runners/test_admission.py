"""Waiting for subscriptions, giving up, and cancels that overtake their job."""

from actors.errors import Failure
from actors.messages.model import JobRef
from runners.admission import GATEWAY_GRACE_S, SUBSCRIPTION_DEADLINE_S, Admission, RejectedJob

JOB = RejectedJob(JobRef("job", 1, "gw"), Failure("x", "y"))


def test_job_starts_only_after_its_gateway_subscribed() -> None:
    """A first token is never published to nobody."""
    admission = Admission()
    assert admission.arrive(JOB, now=0)
    assert admission.startable() == []
    admission.subscribed("gw")
    assert admission.startable() == [JOB]
    admission.started(JOB)
    assert len(admission) == 0


def test_job_without_subscriber_is_given_up_at_its_deadline() -> None:
    """The wait for a subscription has an end."""
    admission = Admission()
    admission.arrive(JOB, now=10)
    assert admission.next_deadline() == 10 + SUBSCRIPTION_DEADLINE_S
    assert admission.overdue(now=10 + SUBSCRIPTION_DEADLINE_S - 0.1) == []
    assert admission.overdue(now=10 + SUBSCRIPTION_DEADLINE_S) == [JOB]
    assert admission.next_deadline() is None


def test_gateway_that_reconnects_within_the_grace_is_kept() -> None:
    """Only a gateway that stays away loses its jobs."""
    admission = Admission()
    admission.subscribed("gw")
    admission.unsubscribed("gw", now=0)
    admission.subscribed("gw")
    assert admission.gone(now=GATEWAY_GRACE_S + 1) == []
    admission.unsubscribed("gw", now=5)
    assert admission.gone(now=5 + GATEWAY_GRACE_S) == ["gw"]


def test_cancel_before_the_job_is_remembered() -> None:
    """A cancel that overtakes its job still works, once."""
    admission = Admission()
    assert admission.cancel("job") is None
    assert not admission.arrive(JOB, now=0)
    assert admission.arrive(JOB, now=0)
    assert admission.cancel("job") is JOB
