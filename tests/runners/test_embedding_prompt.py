"""Texts as token inputs that fit."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import gguf
import pytest

from actors.errors import InvalidRequest
from actors.messages.embedding import EmbedBody
from actors.messages.model import JobRef, LoadPlan
from runners.embedding_prompt import MAX_JOB_TOKENS, EmbedPreparer
from runners.embedding_shape import Pooling, embedding_shape
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.tokenizer import Tokenizer
from tests.support.tiny_bert import CONTEXT_TOKENS, write_tiny_bert

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=CONTEXT_TOKENS, n_slots=64, n_batch=CONTEXT_TOKENS)
REF = JobRef("job", 1, "gw")
CLS, SEP = 2, 3


class Bench:
    """A model with its tokenizer and preparer."""

    def __init__(self, path: Path, plan: LoadPlan = PLAN) -> None:
        start_backend()
        self.model = Model(str(path), plan)
        self.tokenizer = Tokenizer(self.model)
        self.shape = embedding_shape(self.model, plan)
        self.preparer = EmbedPreparer(self.tokenizer, self.shape)

    async def inputs(self, body: EmbedBody) -> list[list[int]]:
        """Prepare a body."""
        return [list(each) for each in (await self.preparer.prepare(REF, body)).inputs]

    def close(self) -> None:
        """Free everything."""
        self.tokenizer.close()
        self.model.close()


@pytest.fixture
def bert(tmp_path: Path) -> Iterator[Bench]:
    """A small encoder."""
    bench = Bench(write_tiny_bert(tmp_path / "bert.gguf"))
    yield bench
    bench.close()


@pytest.fixture
async def ranker(tmp_path: Path) -> AsyncIterator[Bench]:
    """A small reranker."""
    bench = Bench(write_tiny_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK))
    yield bench
    bench.close()


async def test_prepare_keeps_the_special_tokens_of_a_cut_input(bert: Bench) -> None:
    """What does not fit loses its end, not what the tokenizer puts there."""
    whole, cut = await bert.inputs(EmbedBody(inputs=("a b", "a " * 500)))
    assert (whole[0], whole[-1], len(whole)) == (CLS, SEP, 4)
    assert (cut[0], cut[-1], len(cut)) == (CLS, SEP, CONTEXT_TOKENS)
    (short,) = await bert.inputs(EmbedBody(inputs=("a " * 500,), num_ctx=16))
    assert short == [*cut[:15], SEP]


async def test_prepare_huge_text_is_tokenized_as_far_as_it_counts(bert: Bench) -> None:
    """A text of megabytes gives what its beginning gives; blanks, which have no tokens, do not hide the rest."""
    (huge,) = await bert.inputs(EmbedBody(inputs=("abc " * 1_000_000,)))
    assert huge == (await bert.inputs(EmbedBody(inputs=("abc " * 200,))))[0]
    (late,) = await bert.inputs(EmbedBody(inputs=(" " * 100_000 + "z",)))
    assert late == (await bert.inputs(EmbedBody(inputs=("z",))))[0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (EmbedBody(inputs=("a " * 500,), truncate=False), "the input length exceeds the context length"),
        (EmbedBody(inputs=("a b c",), num_ctx=1), "exceeds maximum context length"),
        (EmbedBody(inputs=("a",), query="b"), "does not score documents"),
        (EmbedBody(inputs=("a " * 200,) * (MAX_JOB_TOKENS // CONTEXT_TOKENS + 1)), "send fewer of them"),
    ],
)
async def test_prepare_what_cannot_be_embedded_is_refused(bert: Bench, body: EmbedBody, says: str) -> None:
    """Each with what to do about it."""
    with pytest.raises(InvalidRequest, match=says):
        await bert.inputs(body)


async def test_prepare_empty_text_without_special_tokens_is_refused(tiny_gguf: Path) -> None:
    """A model that puts nothing around a text has nothing to pool."""
    bench = Bench(tiny_gguf)
    assert bench.shape.pooling is Pooling.LAST
    with pytest.raises(InvalidRequest, match="input 1 has no tokens"):
        await bench.inputs(EmbedBody(inputs=("a", "")))
    bench.close()


async def test_prepare_pair_joins_query_and_document(ranker: Bench) -> None:
    """As llama-server joins them; a long document is cut, special tokens in it are text."""
    pair, long = await ranker.inputs(EmbedBody(inputs=("c d", "c " * 500), query="a b"))
    a, b, c, d = (ranker.model.tokenize(letter, add_special=False)[0] for letter in "abcd")
    assert pair == [CLS, a, b, SEP, c, d, SEP]
    assert len(long) == CONTEXT_TOKENS
    assert long[:5] == [CLS, a, b, SEP, c]
    assert long[-1] == SEP
    (marked,) = await ranker.inputs(EmbedBody(inputs=("[SEP]",), query="a"))
    assert marked.count(SEP) == 2


async def test_prepare_pair_whose_query_leaves_no_room_is_refused(ranker: Bench) -> None:
    """The query is never cut; a reranker gives no vectors."""
    with pytest.raises(InvalidRequest, match="exceeds maximum context length"):
        await ranker.inputs(EmbedBody(inputs=("c",), query="a " * 500))
    with pytest.raises(InvalidRequest, match="use /api/rerank"):
        await ranker.inputs(EmbedBody(inputs=("c",)))
