"""How long the gateway's jobs wait for whom."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The waits of one gateway worker, in seconds."""

    scheduler_s: float = 10.0
    """For a scheduler to be heard at all."""
    accept_s: float = 60.0
    """From grant to `Accepted`: a runner renders and tokenises the prompt, both bounded by less."""
    reannounce_s: float = 10.0
    """For a new scheduler to announce the runners; it waits 3 s at most for the launchers to list them."""
    last_words_s: float = 0.1
    """What a runner sent before its death may still be in our socket when the scheduler's report of it arrives."""
    tick_s: float = 0.5
    """Between two looks at the deadlines."""
