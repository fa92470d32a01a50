"""The embedder with real models: whatever the batches look like, each vector is what llama.cpp gives for it alone."""

import array
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.codec import Codec
from actors.messages.job import SamplingOptions
from actors.messages.model import JobRef, LoadPlan
from actors.messages.runner_to_gateway import Delta, Failed, Finished, Part, Step, Vectors
from actors.messages.runner_to_scheduler import Outcome
from runners.embedder import IDLE_S
from runners.embedding_jobs import PreparedEmbedding
from runners.embedding_shape import Pooling, embedding_shape
from runners.engines import Engines
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.outbox import Outbox
from tests.support.oracle import first_difference, greedy_answer, pooled_alone
from tests.support.tiny_bert import CONTEXT_TOKENS, WIDTH, write_tiny_bert
from tests.support.tiny_lora import write_lora

pytestmark = pytest.mark.model

ALIKE = 0.9999
"""Cosine above which two vectors are the same but for rounding; other shapes of batches round otherwise."""
TEXTS = ["hello", "a", "the quick brown fox jumps", "0 1 2 3", "zebra " * 12, "one word more", "x y z"]
TINY_WIDTH = 192


class Bench:
    """The engines of one model on the test's own thread, and everything that they said."""

    def __init__(self, path: Path, plan: LoadPlan, *, is_embedding: bool, adapters: Sequence[str] = ()) -> None:
        start_backend()
        self.model = Model(str(path), plan)
        self.shape = embedding_shape(self.model, plan)
        self.parts: list[Part] = []
        self.outcomes: dict[str, Outcome] = {}
        self.is_reading = True
        self._codec: Codec[Step] = Codec(Step)
        self.outbox = Outbox(self._send)
        self.engines = Engines(
            self.model, plan, self.outbox, self._on_end, is_embedding=is_embedding, adapters=adapters
        )

    def job(self, name: str, inputs: Sequence[Sequence[int]], *, dimensions: int = 0) -> PreparedEmbedding:
        """Prepare inputs of token ids."""
        return PreparedEmbedding(
            ref=JobRef(name, 1, "gw"),
            inputs=tuple(array.array("i", tokens) for tokens in inputs),
            dimensions=dimensions,
            is_normalised=not self.shape.is_reranker,
        )

    def tokens(self, text: str) -> list[int]:
        """Tokenize as for an embedding."""
        return self.model.tokenize(text, add_special=True)

    def run(self) -> None:
        """Step until nothing is left to do."""
        while self.engines.step() or self.engines.gathers_until is not None:
            assert self.outbox.flush()
        assert self.outbox.flush()

    def vectors(self, name: str, width: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        """Give the vectors of a job, one per row."""
        values = b"".join(p.values for p in self.parts if isinstance(p, Vectors) and p.job_id == name)
        return np.frombuffer(values, dtype=np.float32).reshape(-1, width)

    def close(self) -> None:
        """Free everything."""
        self.engines.close()
        self.model.close()

    def _send(self, _gateway_id: str, frame: bytes) -> bool:
        if self.is_reading:
            self.parts += self._codec.decode(frame).parts
        return self.is_reading

    def _on_end(self, ref: JobRef, outcome: Outcome) -> None:
        assert ref.job_id not in self.outcomes, "a job ended twice"
        self.outcomes[ref.job_id] = outcome


@pytest.fixture(scope="module")
def bert_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that pools by the mean."""
    return write_tiny_bert(tmp_path_factory.mktemp("bert") / "bert.gguf")


@pytest.fixture
def bert(bert_gguf: Path) -> Iterator[Bench]:
    """The engines of an encoder."""
    bench = Bench(bert_gguf, LoadPlan(num_ctx=CONTEXT_TOKENS, n_slots=64, n_batch=CONTEXT_TOKENS), is_embedding=True)
    yield bench
    bench.close()


@pytest.fixture
def tiny(tiny_gguf: Path) -> Iterator[Bench]:
    """The engines of a model that generates, with small batches."""
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=512, n_slots=3, n_batch=64), is_embedding=False)
    yield bench
    bench.close()


def assert_alike(got: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", expected: Sequence[Sequence[float]]) -> None:
    """Compare directions; what we got has length 1."""
    assert got.shape == np.array(expected).shape
    for left, right in zip(got, expected, strict=True):
        assert np.linalg.norm(left) == pytest.approx(1, abs=1e-5)
        assert float(np.dot(left, right) / np.linalg.norm(right)) > ALIKE


def test_embedder_batch_gives_what_each_input_gives_alone(bert: Bench, bert_gguf: Path) -> None:
    """Inputs of several jobs share batches; vectors come in the order of the inputs."""
    inputs = [bert.tokens(text) for text in TEXTS]
    assert bert.engines.admit(bert.job("all", inputs))
    assert bert.engines.admit(bert.job("again", inputs[::-1]))
    n_steps = 0
    while bert.engines.step():
        n_steps += 1
        bert.outbox.flush()
    expected = pooled_alone(bert_gguf, inputs, pooling=Pooling.MEAN, width=WIDTH)
    assert_alike(bert.vectors("all", WIDTH), expected)
    assert_alike(bert.vectors("again", WIDTH), expected[::-1])
    assert n_steps < len(inputs)
    assert bert.outcomes == {"all": Outcome.FINISHED, "again": Outcome.FINISHED}
    (end,) = [part for part in bert.parts if isinstance(part, Finished) and part.job_id == "all"]
    assert end.prompt_tokens == sum(map(len, inputs))


@pytest.mark.parametrize("n_batch", [1, 63, 65, 100, 127])
def test_embedder_batch_of_any_size_gives_what_each_input_gives_alone(bert_gguf: Path, n_batch: int) -> None:
    """Also one that is no multiple of the number of sequences, or smaller."""
    bench = Bench(bert_gguf, LoadPlan(num_ctx=CONTEXT_TOKENS, n_slots=64, n_batch=n_batch), is_embedding=True)
    assert bench.shape.input_tokens == n_batch
    inputs = [bench.tokens(text) for text in TEXTS if len(bench.tokens(text)) <= n_batch] or [[7]]
    assert bench.engines.admit(bench.job("a", inputs))
    bench.run()
    got = bench.vectors("a", WIDTH)
    bench.close()
    assert_alike(got, pooled_alone(bert_gguf, inputs, pooling=Pooling.MEAN, width=WIDTH))


def test_embedder_parts_are_numbered_without_gaps(bert: Bench) -> None:
    """Every part of a job carries the next number, its end included."""
    assert bert.engines.admit(bert.job("a", [bert.tokens("abc def") for _ in range(200)]))
    bert.run()
    numbers = [part.seq for part in bert.parts if isinstance(part, Vectors | Finished)]
    assert len(numbers) > 2
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(bert.vectors("a", WIDTH)) == 200


def test_embedder_short_job_does_not_wait_for_a_long_one(bert: Bench) -> None:
    """Jobs take turns: one input is answered long before the thousand of another job."""
    assert bert.engines.admit(bert.job("long", [bert.tokens("abc def ghi")] * 500))
    assert bert.engines.admit(bert.job("short", [bert.tokens("abc")]))
    bert.engines.step()
    bert.outbox.flush()
    assert bert.outcomes == {"short": Outcome.FINISHED}


def test_embedder_dimensions_cut_and_normalise_again(bert: Bench) -> None:
    """Fewer dimensions are the first numbers, scaled to length 1; more than there are change nothing."""
    inputs = [bert.tokens("hello")]
    for name, dimensions in (("whole", 0), ("cut", 5), ("more", 999)):
        assert bert.engines.admit(bert.job(name, inputs, dimensions=dimensions))
    bert.run()
    whole, cut = bert.vectors("whole", WIDTH)[0], bert.vectors("cut", 5)[0]
    assert cut == pytest.approx(whole[:5] / np.linalg.norm(whole[:5]), abs=1e-5)
    assert bert.vectors("more", WIDTH)[0] == pytest.approx(whole)


def test_embedder_gateway_that_does_not_read_holds_up_its_jobs(bert: Bench) -> None:
    """Vectors wait for their gateway, at most one step of them."""
    assert bert.engines.admit(bert.job("a", [bert.tokens("abc def ghi")] * 300))
    bert.is_reading = False
    assert bert.engines.step()
    assert not bert.outbox.flush()
    assert not bert.engines.step()
    bert.is_reading = True
    assert bert.outbox.flush()
    bert.run()
    assert len(bert.vectors("a", WIDTH)) == 300


def test_embedder_cancel_drops_a_job_and_says_nothing_more(bert: Bench) -> None:
    """A cancelled job frees its sequences; the others are finished."""
    assert bert.engines.admit(bert.job("a", [bert.tokens("abc def ghi")] * 300))
    assert bert.engines.admit(bert.job("b", [bert.tokens("abc")] * 100))
    bert.engines.step()
    assert bert.outbox.flush()
    assert bert.engines.cancel("a")
    assert not bert.engines.cancel("a")
    bert.run()
    assert bert.outcomes == {"a": Outcome.CANCELLED, "b": Outcome.FINISHED}
    assert not [part for part in bert.parts if part.job_id == "a" and isinstance(part, Finished | Failed)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.lists(st.lists(st.integers(1, CONTEXT_TOKENS), min_size=1, max_size=9), min_size=1, max_size=6),
    cancelled=st.sets(st.integers(0, 5), max_size=2),
    n_steps=st.integers(0, 3),
)
def test_embedder_whatever_comes_every_job_ends_once_with_all_its_vectors(
    bert_gguf: Path, jobs: list[list[int]], cancelled: set[int], n_steps: int
) -> None:
    """Lengths from one token to the whole context, in any mixture, some cancelled on the way."""
    bench = Bench(bert_gguf, LoadPlan(num_ctx=CONTEXT_TOKENS, n_slots=64, n_batch=CONTEXT_TOKENS), is_embedding=True)
    for number, lengths in enumerate(jobs):
        inputs = [[7 + (number + each) % 20] * each for each in lengths]
        assert bench.engines.admit(bench.job(str(number), inputs))
    for _ in range(n_steps):
        bench.engines.step()
        bench.outbox.flush()
    gone = {str(number) for number in cancelled if bench.engines.cancel(str(number))}
    bench.run()
    bench.close()
    assert bench.outcomes.keys() == {str(number) for number in range(len(jobs))}
    assert {name for name, outcome in bench.outcomes.items() if outcome is Outcome.CANCELLED} == gone
    for name in bench.outcomes.keys() - gone:
        vectors = bench.vectors(name, WIDTH)
        assert vectors.shape == (len(jobs[int(name)]), WIDTH)
        for left, right in zip(jobs[int(name)], vectors, strict=True):
            same = [row for length, row in zip(jobs[int(name)], vectors, strict=True) if length == left]
            assert all(float(np.dot(row, right)) > ALIKE for row in same)


def test_embedder_uses_the_adapters_of_the_model(tmp_path: Path, bert_gguf: Path, bert: Bench) -> None:
    """A model that was created with an adapter embeds with it."""
    lora = write_lora(tmp_path / "lora.gguf", bert_gguf, strength=2.0)
    plan = LoadPlan(num_ctx=CONTEXT_TOKENS, n_slots=64, n_batch=CONTEXT_TOKENS)
    changed = Bench(bert_gguf, plan, is_embedding=True, adapters=(str(lora),))
    for bench in (bert, changed):
        assert bench.engines.admit(bench.job("a", [bench.tokens("hello")]))
        bench.run()
    assert float(np.dot(bert.vectors("a", WIDTH)[0], changed.vectors("a", WIDTH)[0])) < ALIKE
    changed.close()


def test_embedder_reranker_gives_the_scores_of_each_pair_alone(tmp_path: Path) -> None:
    """A model that ranks tells one number per input, as the model gives it."""
    path = write_tiny_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK)
    plan = LoadPlan(num_ctx=CONTEXT_TOKENS, n_slots=64, n_batch=CONTEXT_TOKENS)
    bench = Bench(path, plan, is_embedding=True)
    inputs = [bench.tokens(text) for text in TEXTS]
    assert bench.engines.admit(bench.job("a", inputs))
    bench.run()
    got = bench.vectors("a", 1)
    bench.close()
    expected = pooled_alone(path, inputs, pooling=Pooling.RANK, width=1)
    assert got.tolist() == [pytest.approx(each, abs=1e-2) for each in expected]
    assert len({round(float(each[0]), 3) for each in got}) > 1


def test_embedder_long_input_of_a_generation_model_is_evaluated_in_pieces(tiny: Bench, tiny_gguf: Path) -> None:
    """A model that generates gives its last token's state, also for inputs longer than a batch."""
    inputs = [tiny.tokens(text) for text in ("Hello", "Count to nine. " * 20, "Why is the sky blue?", "a b c " * 60)]
    assert max(map(len, inputs)) > 2 * tiny.shape.n_batch
    assert tiny.engines.admit(tiny.job("a", inputs))
    tiny.run()
    assert_alike(tiny.vectors("a", TINY_WIDTH), pooled_alone(tiny_gguf, inputs, pooling=Pooling.LAST, width=TINY_WIDTH))


def test_embedder_of_a_generation_model_frees_its_context_after_a_while(tiny: Bench) -> None:
    """Idle for long, its memory is given back; the next job makes it anew. An embedding model's stays."""
    assert tiny.engines.rest(0.0) is None
    assert tiny.engines.admit(tiny.job("a", [tiny.tokens("Hello")]))
    tiny.run()
    now = time.monotonic()
    due = tiny.engines.rest(now)
    assert due is not None
    assert now < due <= now + IDLE_S
    assert tiny.engines.rest(due) is None
    assert tiny.engines.rest(now) is None  # there is nothing any more
    assert tiny.engines.admit(tiny.job("b", [tiny.tokens("Hello")]))
    tiny.run()
    assert np.array_equal(tiny.vectors("a", TINY_WIDTH), tiny.vectors("b", TINY_WIDTH))


def test_embedder_small_batches_give_the_same_vectors(tiny_gguf: Path) -> None:
    """A batch of three tokens, for more slots than that, is slow and right."""
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=64, n_slots=6, n_batch=3), is_embedding=False)
    inputs = [bench.tokens(text) for text in ("Hello", "Why is the sky blue?", "a b c d", "x", "y")]
    assert bench.engines.admit(bench.job("a", inputs))
    bench.run()
    got = bench.vectors("a", TINY_WIDTH)
    bench.close()
    assert_alike(got, pooled_alone(tiny_gguf, inputs, pooling=Pooling.LAST, width=TINY_WIDTH))


def test_embedder_beside_a_generation_disturbs_neither(tiny: Bench, tiny_gguf: Path) -> None:
    """Tokens and vectors are the same as alone when both are made at once."""
    prompt = tiny.model.tokenize("<|im_start|>user\nCount to 9.<|im_end|>\n<|im_start|>assistant\n", add_special=True)
    generation = PreparedJob(
        ref=JobRef("text", 1, "gw"),
        prompt=prompt,
        sampling=SamplingOptions(temperature=0),
        max_new_tokens=40,
        stop=(),
        return_context=False,
    )
    inputs = [tiny.tokens(text) for text in TEXTS] * 4
    assert tiny.engines.admit(generation)
    tiny.engines.step()
    assert tiny.engines.admit(tiny.job("vectors", inputs))
    tiny.run()
    tokens = [t for part in tiny.parts if isinstance(part, Delta | Finished) for t in part.tokens]
    assert first_difference(greedy_answer(tiny_gguf, prompt, n_tokens=40), tokens) is None
    expected = pooled_alone(tiny_gguf, inputs, pooling=Pooling.LAST, width=TINY_WIDTH)
    assert_alike(tiny.vectors("vectors", TINY_WIDTH), expected)
