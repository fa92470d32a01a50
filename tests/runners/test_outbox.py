"""The outbox: numbering without gaps, merging behind a full queue, forgetting."""

from actors.codec import Codec
from actors.errors import Failure
from actors.messages.model import JobRef
from actors.messages.runner_to_gateway import Accepted, Delta, DoneReason, Failed, Finished, Part, Step
from runners.outbox import Ending, Outbox

A, B = JobRef("a", 1, "gw1"), JobRef("b", 2, "gw2")
END = Ending(reason=DoneReason.STOP, prompt_tokens=3, cached_tokens=1, generated_tokens=2, prompt_ns=5, generate_ns=6)


class _Gateways:
    """Takes frames while `open`."""

    def __init__(self) -> None:
        self.open = True
        self.frames: list[tuple[str, tuple[Part, ...]]] = []

    def send(self, gateway_id: str, frame: bytes) -> bool:
        if self.open:
            self.frames.append((gateway_id, Codec[Step](Step).decode(frame).parts))
        return self.open


def test_outbox_one_message_per_gateway_and_flush() -> None:
    """All parts of a step for a gateway travel together, in order."""
    gateways = _Gateways()
    outbox = Outbox(gateways.send)
    outbox.accept(A)
    outbox.add(A, "x", 1)
    outbox.accept(B)
    assert outbox.flush()
    assert gateways.frames == [
        ("gw1", (Accepted("a", 1), Delta("a", 1, 1, "x", (1,)))),
        ("gw2", (Accepted("b", 2),)),
    ]
    outbox.end(A, END, text="y")
    assert outbox.flush()
    (_, (finished,)) = gateways.frames[-1]
    assert isinstance(finished, Finished)
    assert (finished.seq, finished.text, finished.prompt_tokens, finished.reason) == (2, "y", 3, DoneReason.STOP)


def test_outbox_full_queue_merges_and_leaves_no_gap() -> None:
    """What a slow gateway missed arrives as one delta with the next number."""
    gateways = _Gateways()
    outbox = Outbox(gateways.send)
    outbox.add(A, "1", 1)
    assert outbox.flush()
    gateways.open = False
    for token in (2, 3, 4):
        outbox.add(A, str(token), token)
        assert not outbox.flush()
    gateways.open = True
    assert outbox.flush()
    assert gateways.frames[-1] == ("gw1", (Delta("a", 1, 2, "234", (2, 3, 4)),))


def test_outbox_failure_ends_the_job() -> None:
    """A failure travels as data and carries the next number."""
    gateways = _Gateways()
    outbox = Outbox(gateways.send)
    outbox.add(A, "1", 1)
    outbox.flush()
    outbox.end(A, Failure("decode_failed", "no"))
    outbox.flush()
    assert gateways.frames[-1] == ("gw1", (Failed("a", 1, 2, Failure("decode_failed", "no")),))


def test_outbox_dropped_job_and_gone_gateway_send_nothing() -> None:
    """Nobody hears of a cancelled job or through a lost gateway."""
    gateways = _Gateways()
    outbox = Outbox(gateways.send)
    outbox.add(A, "1", 1)
    outbox.drop(A)
    outbox.add(B, "1", 1)
    outbox.forget_gateway("gw2")
    assert outbox.flush()
    assert gateways.frames == []


def test_outbox_tells_that_a_job_has_begun() -> None:
    """True after the flush that sent the first token of a job which goes on, and only then."""
    outbox = Outbox(_Gateways().send)

    def flushed() -> bool:
        outbox.flush()
        return outbox.has_begun

    outbox.accept(A)
    assert not flushed()
    outbox.add(A, "", 1)
    assert flushed()
    outbox.add(A, "x", 2)
    assert not flushed()
    outbox.add(B, "x", 1)
    outbox.end(B, END)
    assert not flushed()
    outbox.add_vectors(A, bytes(4))
    assert not flushed()
