"""When to start again what has died."""

from actors.restart import RestartPolicy


def test_delay_after_first_death_is_none() -> None:
    """A single death costs no time: the scheduler must be back within two seconds."""
    assert RestartPolicy().delay_s(0.0) == 0.0


def test_delay_grows_to_its_bound() -> None:
    """Deaths in a row wait ever longer, and never longer than half a minute."""
    policy = RestartPolicy()
    delays = [policy.delay_s(1.0) for _ in range(5000)]
    assert delays == sorted(delays)
    assert delays[1] == 0.25
    assert delays[-1] == 30.0


def test_delay_after_a_stable_life_is_none_again() -> None:
    """A life of a minute forgets the deaths before it."""
    policy = RestartPolicy()
    for _ in range(10):
        policy.delay_s(1.0)
    assert policy.delay_s(60.0) == 0.0
    assert policy.n_deaths == 1


def test_delay_with_own_bound_keeps_it() -> None:
    """What is cheap to start may be started more often."""
    policy = RestartPolicy(longest_s=0.5)
    assert max(policy.delay_s(0.0) for _ in range(20)) == 0.5
