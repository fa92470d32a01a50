"""What an answer's end tells of the tokens in it."""

import pytest
import trio
import trio.testing

from actors.messages.runner_to_gateway import DoneReason, Finished
from gateway.answer import Answer, AnswerEnd
from gateway.job import Job
from gateway.parse.choice import dialect_for
from gateway.parse.model_parser import parser_for
from gateway.parse.tools import DeclaredTools


def _finished(seq: int, n_tokens: int) -> Finished:
    return Finished(
        job_id="j",
        attempt=1,
        seq=seq,
        text="",
        tokens=(),
        reason=DoneReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        generated_tokens=n_tokens,
        prompt_ns=1,
        generate_ns=1,
    )


@pytest.mark.parametrize(
    ("pieces", "n_thought"),
    [
        (["<think>", "Hm.", " Right.", "</think>", "\n\n", "Hello"], 6),
        (["Hello", " world"], 0),
        (["Why", " not.", "\n</think>", "\nHello", "!"], 6),
        (["<think>", "Hm."], 4),
        (["<think>abcd</think>efgh"], 1),
        (["<think>", "a", "</think>", '<tool_call>{"name": "f", "arguments": {}}', "</tool_call>"], 4),
    ],
)
async def test_thinking_tokens_are_counted_as_they_come(pieces: list[str], n_thought: int) -> None:
    """Each piece is two tokens; an opening tag counts with what follows it, and a closing one with what follows that.

    Text that turns out to have been thinking counts as such, and one piece of both is shared out.
    """
    job = Job(job_id="j", request=None, offered_at=0.0)
    dialect, tools = dialect_for("<think></think><tool_call>"), DeclaredTools([{"function": {"name": "f"}}])
    answer = Answer(job, arrived_at=0.0, make_parser=lambda tail: parser_for(dialect, tools, prompt_tail=tail))
    ends: list[AnswerEnd | None] = []

    async def read() -> None:
        ends.append((await answer.whole()).end)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for seq, piece in enumerate(pieces, start=1):
            await trio.testing.wait_all_tasks_blocked()
            job.tokens += (seq, seq)
            job.stream.put(seq, piece)
        await trio.testing.wait_all_tasks_blocked()
        job.stream.finish(_finished(len(pieces) + 1, 2 * len(pieces)))
    (end,) = ends
    assert end is not None
    assert (end.thinking_tokens, end.generated_tokens) == (n_thought, 2 * len(pieces))
