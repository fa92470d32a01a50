"""Images and sounds with real models: tokens are llama.cpp's own, on three architectures, alone and side by side."""

import base64
import contextlib
import dataclasses
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from actors.errors import InvalidRequest, LoadFailed
from actors.messages.model import JobRef, LoadPlan
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from runners.llama.projector import Projector
from runners.media_files import Medium
from tests.support.engine_bench import GREEDY, Bench
from tests.support.media_oracle import MediaOracle
from tests.support.oracle import first_difference
from tests.support.pictures import png, wav
from tests.support.tiny_media import (
    LLAVA_IMAGE_TOKENS,
    write_llava_projector,
    write_qwen_projector,
    write_qwen_text,
    write_speech_projector,
)

pytestmark = pytest.mark.model

TINY_WIDTH = 192
PLAN = LoadPlan(num_ctx=1024, n_slots=3, n_batch=64, n_threads=1)
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
BIG, SMALL = png(150, 90, seed=1), png(60, 60, seed=2)
SPEECH = wav(2.0, from_hz=200, to_hz=2000)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A pair of text model and projector, and two media for it."""

    text: Path
    projector: Path
    media: tuple[bytes, bytes]


def _llava(folder: Path, tiny: Path) -> Kind:
    return Kind(tiny, write_llava_projector(folder / "llava.gguf", text_width=TINY_WIDTH), (BIG, SMALL))


def _qwen(folder: Path, tiny: Path) -> Kind:
    text = write_qwen_text(folder / "qwen.gguf", tiny)
    return Kind(text, write_qwen_projector(folder / "qwen-mm.gguf"), (BIG, SMALL))


def _speech(folder: Path, tiny: Path) -> Kind:
    projector = write_speech_projector(folder / "speech.gguf", text_width=TINY_WIDTH)
    return Kind(tiny, projector, (SPEECH, wav(1.0, from_hz=900, to_hz=100)))


@pytest.fixture(params=[_llava, _qwen, _speech], ids=["llava", "qwen2vl", "ultravox"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, tiny_gguf: Path) -> Kind:
    """Each architecture in turn."""
    build: Callable[[Path, Path], Kind] = request.param
    return build(tmp_path, tiny_gguf)


class MediaBench(Bench):
    """An engine with a projector beside it, on the same thread."""

    def __init__(self, kind: Kind) -> None:
        start_backend()
        super().__init__(kind.text, PLAN)
        self.projector = Projector(str(kind.projector), self.model, n_threads=1, n_batch=PLAN.n_batch, use_gpu=False)

    def media_job(self, name: str, text: str, media: Sequence[bytes], *, n_tokens: int) -> PreparedJob:
        """Prepare a chat turn; `{}` stands for each medium."""
        prompt = CHAT.format(text.replace("{}", self.projector.marker))
        read = self.projector.read(prompt, media, limit=PLAN.num_ctx - 1)
        return PreparedJob(
            ref=JobRef(name, 1, "gw"),
            prompt=read.tokens,
            spans=read.spans,
            sampling=GREEDY,
            max_new_tokens=n_tokens,
            stop=(),
            return_context=True,
        )

    def close(self) -> None:
        """Free everything."""
        self.projector.close()
        super().close()


@pytest.fixture
def bench(kind: Kind) -> Iterator[MediaBench]:
    """An engine with three slots."""
    bench = MediaBench(kind)
    yield bench
    bench.close()


TURNS = [("What is {}?", 1), ("{} and {}: say which is larger.", 2), ("Count: {}", 1)]


def test_media_tokens_are_llama_cpps_alone_and_side_by_side(bench: MediaBench, kind: Kind) -> None:
    """Three chats with one or two media, first each alone, then in one batch, decode what libmtmd's own loop does."""
    oracle = MediaOracle(kind.text, kind.projector)
    expected = [oracle.greedy_answer(CHAT.format(text), kind.media[:count], n_tokens=16) for text, count in TURNS]
    oracle.close()
    for number, (text, count) in enumerate(TURNS):
        assert bench.engine.admit(bench.media_job(f"alone{number}", text, kind.media[:count], n_tokens=16))
        bench.run()
    for number, (text, count) in enumerate(TURNS):
        assert bench.engine.admit(bench.media_job(f"batch{number}", text, kind.media[:count], n_tokens=16))
    bench.run()
    for number, answer in enumerate(expected):
        assert first_difference(answer, bench.tokens(f"alone{number}")) is None
        assert first_difference(answer, bench.tokens(f"batch{number}")) is None
        end = bench.finished(f"batch{number}")
        assert all(token >= 0 for token in end.context)


def test_media_cache_that_grows_keeps_them(bench: MediaBench, kind: Kind) -> None:
    """A long prompt behind a medium makes the cache grow in between, and tokens stay llama.cpp's."""
    text = "{} " + "one two three " * 120
    oracle = MediaOracle(kind.text, kind.projector)
    answer = oracle.greedy_answer(CHAT.format(text), kind.media[:1], n_tokens=8)
    oracle.close()
    assert bench.engine.admit(bench.media_job("early", "Count: {}", kind.media[:1], n_tokens=30))
    bench.engine.step()
    long = bench.media_job("long", text, kind.media[:1], n_tokens=8)
    assert len(long.prompt) > bench.engine.num_ctx
    assert bench.engine.admit(long)
    bench.run()
    assert first_difference(answer, bench.tokens("long")) is None


def test_media_follow_up_reuses_the_image(tmp_path: Path, tiny_gguf: Path) -> None:
    """A second turn about the same image shares its cells; another image in its place shares none of them."""
    bench = MediaBench(_llava(tmp_path, tiny_gguf))
    assert bench.engine.admit(bench.media_job("first", "What is {}?", [BIG], n_tokens=4))
    bench.run()
    again = bench.media_job("again", "What is {}? Tell me more.", [BIG], n_tokens=4)
    other = bench.media_job("other", "What is {}? Tell me more.", [SMALL], n_tokens=4)
    (span,) = again.spans
    assert span.n_tokens == LLAVA_IMAGE_TOKENS
    for job in (again, other):
        assert bench.engine.admit(job)
        bench.run()
    assert bench.finished("again").cached_tokens >= span.end
    assert bench.finished("other").cached_tokens <= span.start
    bench.close()


def test_media_same_image_is_encoded_once(tmp_path: Path, tiny_gguf: Path) -> None:
    """The same file gives the very same embeddings again, and twice within a prompt."""
    bench = MediaBench(_llava(tmp_path, tiny_gguf))
    first = bench.media_job("a", "{} or {}", [BIG, BIG], n_tokens=1)
    second = bench.media_job("b", "{}", [BIG], n_tokens=1)
    assert first.spans[0].embeddings is first.spans[1].embeddings
    assert first.spans[0].embeddings is second.spans[0].embeddings
    bench.close()


def test_projector_prompt_over_the_limit_is_counted_only(bench: MediaBench, kind: Kind) -> None:
    """What will not be decoded is not encoded; the count is that of the whole prompt."""
    prompt = CHAT.format(bench.projector.marker)
    whole = bench.projector.read(prompt, kind.media[:1], limit=500)
    counted = bench.projector.read(prompt, kind.media[:1], limit=10)
    assert counted.tokens == whole.tokens
    assert whole.spans
    assert not counted.spans


def test_projector_damaged_media_is_refused(bench: MediaBench, kind: Kind) -> None:
    """A file that ends early or holds noise is told, and the next one is read."""
    head = kind.media[0][:40]
    for content in (head, head + bytes(200)):
        with pytest.raises(InvalidRequest):
            bench.projector.read(bench.projector.marker, [content], limit=500)
    with pytest.raises(InvalidRequest):
        bench.projector.read("no marker", kind.media[:1], limit=500)
    assert bench.projector.read(bench.projector.marker, kind.media[:1], limit=500).spans


def test_projector_tells_what_it_reads(bench: MediaBench, kind: Kind) -> None:
    """One for images reads no sounds, and the other way round."""
    is_sound = kind.media[0] is SPEECH
    assert bench.projector.reads(Medium.SOUND) is is_sound
    assert bench.projector.reads(Medium.IMAGE) is not is_sound


def test_projector_of_another_width_does_not_load(tmp_path: Path, tiny_gguf: Path) -> None:
    """A projector for another model is refused by name."""
    start_backend()
    bench = Bench(tiny_gguf, PLAN)
    path = write_llava_projector(tmp_path / "other.gguf", text_width=64)
    with pytest.raises(LoadFailed, match="projector"):
        Projector(str(path), bench.model, n_threads=1, n_batch=64, use_gpu=False)
    bench.close()


@pytest.mark.skipif(not os.environ.get("LLAMA_SERVER"), reason="LLAMA_SERVER names no llama-server")
def test_media_tokens_are_llama_servers(bench: MediaBench, kind: Kind, run_dir: Path) -> None:
    """The same prompts through llama-server with the same files give the same tokens."""
    with _llama_server(kind, run_dir) as client:
        marker = client.get("/props").json()["media_marker"]
        for number, (text, count) in enumerate(TURNS):
            media = [base64.b64encode(content).decode() for content in kind.media[:count]]
            prompt = {"prompt_string": CHAT.format(text.replace("{}", marker)), "multimodal_data": media}
            body = {"prompt": prompt, "n_predict": 16, "temperature": 0, "return_tokens": True, "cache_prompt": False}
            theirs = client.post("/completion", json=body).raise_for_status().json()["tokens"]
            assert bench.engine.admit(bench.media_job(f"job{number}", text, kind.media[:count], n_tokens=16))
            bench.run()
            ours = bench.tokens(f"job{number}")
            assert ours[: len(theirs)] == theirs
            assert len(ours) - len(theirs) in (0, 1)  # llama-server does not show the token that ends an answer


@contextlib.contextmanager
def _llama_server(kind: Kind, run_dir: Path) -> Iterator[httpx.Client]:
    socket = run_dir / "server.sock"
    command = [os.environ["LLAMA_SERVER"], "-m", str(kind.text), "--mmproj", str(kind.projector), "-t", "1"]
    command += ["--host", str(socket), "-c", "2048", "-np", "1", "--no-warmup", "-ub", "64"]
    with (run_dir / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            transport = httpx.HTTPTransport(uds=str(socket))
            with httpx.Client(transport=transport, base_url="http://llama", timeout=60) as client:
                _await_health(client, process)
                yield client
        finally:
            process.terminate()


def _await_health(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").is_success:
                return
        time.sleep(0.05)  # a poll with a deadline, for a program that tells of nothing
    pytest.fail("llama-server did not become ready")
