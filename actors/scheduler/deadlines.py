"""How long the scheduler waits for what. Every wait in the core ends at one of these, or at one of the settings."""

SILENCE_S = 10.0
"""A peer unheard for so long is dead (`actors.link`; a test holds the two together). With three heartbeats a host whose
cores were all taken lost healthy runners and their streams; a death that a launcher or its successor sees is reported
at once, so this is for hosts that vanish and processes that hang."""

LOADING_SILENCE_S = 30.0
"""The same for a runner that loads: it maps gigabytes, and its host may swap."""

IN_TRANSIT_S = 3.0
"""A runner asked for so recently may be missing from a launcher's list: the two messages have crossed."""

LATE_S = 0.5
"""An own tick so late means that we were stopped, not the peers: their silence counts from now."""

SETTLE_S = 3.0
"""A new scheduler decides nothing before its launchers and runners reported, or this has passed since its start."""

SETTLE_AFTER_LAUNCHER_S = 2.0
"""The same, counted from the first launcher's hello: runners that it listed and that stay silent are not waited for."""

START_S = 60.0
"""From `StartRunner` to the runner's hello; a cold fork server imports for a second or two."""

EXIT_S = 5.0
"""From `KillRunner` to `RunnerExited`; after this the runner counts as gone without its launcher's word."""

DRAIN_EXIT_S = 10.0
"""A draining runner without jobs ends by itself within this, or is killed."""

DRAIN_REPEAT_S = 3.0
"""A runner that still calls itself ready so long after `Drain` has lost the message."""

AUDIT_S = 5.0
"""A cancelled job that holds its slot for so long, or beats that do not add up: ask the runner what it holds."""

TURN_S = 30.0
"""A model that waited so long for memory gets a busy runner drained: none of its jobs is cut, but it takes no more."""

FACTS_AGE_S = 0.5
"""Host facts are taken up to this long before they arrive, so a runner ready since then is not in them yet."""
