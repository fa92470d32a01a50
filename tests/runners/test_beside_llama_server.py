"""Vectors, scores and tokens with adapters, compared with what llama-server gives for the same files."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import trio

from actors.messages.embedding import EmbedBody
from actors.messages.model import AdapterUse, JobRef, LoadPlan
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from tests.runners.test_embedder import ALIKE, TINY_WIDTH
from tests.runners.test_embedder import Bench as EmbedBench
from tests.runners.test_embedding_prompt import Bench as PromptBench
from tests.support.engine_bench import GREEDY, Bench
from tests.support.llama_server import llama_server
from tests.support.oracle import first_difference, greedy_answer
from tests.support.tiny_bert import CONTEXT_TOKENS, WIDTH, write_tiny_bert
from tests.support.tiny_lora import write_lora

pytestmark = pytest.mark.model

ENCODER_PLAN = LoadPlan(num_ctx=CONTEXT_TOKENS, n_slots=64, n_batch=CONTEXT_TOKENS)
TEXTS = ["hello", "a", "the quick brown fox", "zebra " * 15]


def test_vectors_of_an_encoder_are_llama_servers(tmp_path: Path) -> None:
    """Several inputs in one call, with the model's own pooling."""
    path = write_tiny_bert(tmp_path / "bert.gguf")
    with llama_server(path, "--embedding", log=tmp_path / "log") as client:
        answer = client.post("/v1/embeddings", json={"input": TEXTS}).json()
    bench = EmbedBench(path, ENCODER_PLAN, is_embedding=True)
    assert bench.engines.admit(bench.job("a", [bench.tokens(text) for text in TEXTS]))
    bench.run()
    ours = bench.vectors("a", WIDTH)
    bench.close()
    for left, right in zip(ours, answer["data"], strict=True):
        assert float(np.dot(left, right["embedding"])) > ALIKE


def test_vectors_of_a_generation_model_are_llama_servers(tmp_path: Path, tiny_gguf: Path) -> None:
    """The last token's state, whole or in pieces."""
    texts = ["Hello", "Why is the sky blue?", "Count to nine. " * 30]
    with llama_server(tiny_gguf, "--embedding", "--pooling", "last", "-c", "2048", log=tmp_path / "log") as client:
        answer = client.post("/v1/embeddings", json={"input": texts}).json()
    bench = EmbedBench(tiny_gguf, LoadPlan(num_ctx=512, n_slots=2, n_batch=64), is_embedding=False)
    assert bench.engines.admit(bench.job("a", [bench.tokens(text) for text in texts]))
    bench.run()
    ours = bench.vectors("a", TINY_WIDTH)
    bench.close()
    for left, right in zip(ours, answer["data"], strict=True):
        assert float(np.dot(left, right["embedding"])) > ALIKE


def test_scores_of_a_reranker_are_llama_servers(tmp_path: Path) -> None:
    """The same tokens, and the same numbers."""
    path = write_tiny_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK)
    with llama_server(path, "--reranking", log=tmp_path / "log") as client:
        answer = client.post("/v1/rerank", json={"query": "quick", "documents": TEXTS}).json()
    start_backend()
    preparer = PromptBench(path)
    inputs = trio.run(preparer.inputs, EmbedBody(inputs=tuple(TEXTS), query="quick"))
    preparer.close()
    bench = EmbedBench(path, ENCODER_PLAN, is_embedding=True)
    assert bench.engines.admit(bench.job("a", inputs))
    bench.run()
    scores = bench.vectors("a", 1)[:, 0]
    bench.close()
    assert sum(map(len, inputs)) == answer["usage"]["prompt_tokens"]
    for each in answer["results"]:
        assert float(scores[each["index"]]) == pytest.approx(each["relevance_score"], abs=1e-2)


def test_tokens_with_adapters_are_llama_servers(tmp_path: Path, tiny_gguf: Path) -> None:
    """One adapter, another scale, two at once, and none, side by side in one engine."""
    files = [write_lora(tmp_path / f"{seed}.gguf", tiny_gguf, seed=seed, strength=2.0) for seed in (1, 2)]
    sets = [(0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (1.0, -1.0)]
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=256, n_slots=len(sets)))
    prompt = bench.job("", "Why is the sky blue?", n_tokens=1).prompt
    for scales in sets:
        job = PreparedJob(
            ref=JobRef(str(scales), 1, "gw"),
            prompt=prompt,
            sampling=GREEDY,
            max_new_tokens=24,
            stop=(),
            return_context=False,
            adapters=tuple(AdapterUse(str(file), scale) for file, scale in zip(files, scales, strict=True)),
        )
        assert bench.engine.admit(job)
    bench.run()
    ours = {scales: bench.tokens(str(scales)) for scales in sets}
    bench.close()
    options = [option for file in files for option in ("--lora", str(file))]
    with llama_server(tiny_gguf, *options, "-c", "2048", log=tmp_path / "log") as client:
        for scales in sets:
            wish = {"prompt": prompt, "n_predict": 24, "temperature": 0, "return_tokens": True, "cache_prompt": False}
            lora = [{"id": number, "scale": scale} for number, scale in enumerate(scales)]
            theirs = client.post("/completion", json=wish | {"lora": lora}).json()["tokens"]
            adapters = list(zip(files, scales, strict=True))
            alone = greedy_answer(tiny_gguf, prompt, n_tokens=24, adapters=adapters)
            assert first_difference(alone, ours[scales]) is None
            assert first_difference(alone, [*theirs, *alone.tokens[len(theirs) :]]) is None
