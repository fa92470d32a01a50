"""The single-slot stream of a job."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import Backlogged, Bug, RunnerDied, StreamGap
from actors.messages.scheduler_to_gateway import Loaded
from gateway.streams import MAX_PENDING_CHARS, JobStream

END = Loaded(epoch="e", job_id="j", attempt=1)


async def _read_all(stream: JobStream) -> str:
    texts = []
    while True:
        piece = await stream.receive()
        texts.append(piece.text)
        if piece.end is not None:
            return "".join(texts)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=5), max_size=12), reads_after=st.sets(st.integers(0, 12)))
def test_receive_whatever_the_reads_gives_the_same_text(texts: list[str], reads_after: set[int]) -> None:
    """The text read does not depend on when the reader reads, nor on how the writer cut it."""

    async def main() -> str:
        stream = JobStream()
        read = ""
        for seq, text in enumerate(texts, start=1):
            stream.put(seq, text)
            if seq in reads_after and any(texts[:seq]) and stream._pending:
                read += (await stream.receive()).text
        stream.finish(END)
        return read + await _read_all(stream)

    assert trio.run(main) == "".join(texts)


async def test_receive_while_the_reader_lags_merges() -> None:
    """Text that waits is read as one piece."""
    stream = JobStream()
    for seq, text in enumerate(("a", "b", "c"), start=1):
        stream.put(seq, text)
    assert (await stream.receive()).text == "abc"


async def test_receive_with_nothing_there_waits_for_the_writer() -> None:
    """A waiting reader is woken by the next part."""
    stream = JobStream()
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            assert (await stream.receive()).text == "late"

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        stream.put(1, "late")


async def test_put_out_of_sequence_fails_after_the_text_before() -> None:
    """A gap is an error, but what came before it is delivered."""
    stream = JobStream()
    stream.put(1, "whole")
    stream.put(3, "lost")
    assert (await stream.receive()).text == "whole"
    with pytest.raises(StreamGap) as caught:
        await stream.receive()
    assert caught.value.fields == {"expected": 2, "got": 3}


async def test_fail_after_finish_changes_nothing() -> None:
    """A stream ends exactly once."""
    stream = JobStream()
    stream.put(1, "text")
    stream.finish(END)
    stream.fail(RunnerDied("late"))
    stream.put(2, "more")
    piece = await stream.receive()
    assert (piece.text, piece.end) == ("text", END)


async def test_finish_after_fail_changes_nothing() -> None:
    """The first end counts, also when it is a failure."""
    stream = JobStream()
    stream.fail(RunnerDied("first"))
    stream.finish(END)
    with pytest.raises(RunnerDied):
        await stream.receive()


async def test_receive_beyond_the_end_is_a_bug() -> None:
    """A reader that goes on after the end is told that it is wrong."""
    stream = JobStream()
    stream.finish(END)
    await stream.receive()
    with pytest.raises(Bug):
        await stream.receive()


async def test_put_more_than_the_bound_fails_with_backlogged() -> None:
    """Unread text is bounded."""
    stream = JobStream()
    stream.put(1, "x" * MAX_PENDING_CHARS)
    stream.put(2, "y")
    await stream.receive()
    with pytest.raises(Backlogged):
        await stream.receive()


async def test_vectors_of_a_second_runner_are_taken_from_where_the_first_one_died() -> None:
    """It makes all of them again, and the reader gets each byte once."""
    stream = JobStream()
    stream.put_values(1, b"abc")
    assert (await stream.receive()).values == b"abc"
    stream.resume()
    stream.put_values(1, b"ab")
    stream.put_values(2, b"cdef")
    assert (await stream.receive()).values == b"def"
