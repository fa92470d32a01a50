"""A multimodal projector: turns images and sounds into embeddings that the text model reads between its tokens.

One thread owns it and makes every call, the runner's media thread: encoding an image takes seconds on a CPU, and no
step shall wait for it. Of the text model it reads dimensions and vocabulary only, which do not change.

The text that marks a medium's place is random per process, so that no prompt can contain it by design.
"""

import collections
import contextlib
import ctypes
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from actors.errors import InvalidRequest, LoadFailed, PromptTooLong
from runners.embedding_cache import EmbeddingCache
from runners.llama.binding import last_errors, mtmd, native, on_log
from runners.llama.model import Model
from runners.media import MediaPrompt, MediaSpan, placeholder_ids
from runners.media_files import Medium

_POSITIONS_2D = 4  # of each embedding under M-RoPE: t, y, x, z


class Projector:
    """Reads prompts with media for one text model."""

    def __init__(self, path: str, model: Model, *, n_threads: int, n_batch: int, use_gpu: bool) -> None:
        """Load the file.

        Raises:
            LoadFailed: libmtmd refused it, or it does not fit the model; the message carries its reason.
        """
        mtmd.mtmd_helper_log_set(on_log, ctypes.c_void_p(0))
        self.marker = f"<__{secrets.token_hex(16)}__>"
        """Stands in a prompt for each medium."""
        params = mtmd.mtmd_context_params_default()
        params.use_gpu, params.n_threads, params.print_timings = use_gpu, n_threads, False
        params.media_marker = self.marker.encode()
        params.warmup = False  # it would double the time to load, for a first image that comes much later
        self._n_batch = n_batch
        self._width: int = native.llama_model_n_embd_inp(model.handle)
        self._cache = EmbeddingCache()
        self._handle: Any = mtmd.mtmd_init_from_file(path.encode(), model.handle, params)
        if not self._handle:
            raise LoadFailed(f"the projector cannot be used with this model: {last_errors()}", path=path)
        self._is_2d: bool = mtmd.mtmd_decode_use_mrope(self._handle)

    def reads(self, medium: Medium) -> bool:
        """Tell whether it can turn such a medium into embeddings."""
        supports = mtmd.mtmd_support_vision if medium is Medium.IMAGE else mtmd.mtmd_support_audio
        return bool(supports(self._handle))

    def read(self, text: str, media: Sequence[bytes], *, limit: int, prefix: Sequence[int] = ()) -> MediaPrompt:
        """Tokenize a prompt and encode its media.

        Args:
            text: the prompt, with a marker for each medium.
            media: the files, in the order of their markers.
            limit: a prompt with more tokens is only counted, as nothing of it will be decoded.
            prefix: tokens in front of it; without any, those that the model wants at the start are added.

        Raises:
            InvalidRequest: markers and files do not fit together, or a file cannot be decoded.
        """
        with self._chunks(text, media, add_special=not prefix) as chunks:
            n_tokens = sum(mtmd.mtmd_input_chunk_get_n_tokens(chunk) for chunk in chunks)
            is_counted = len(prefix) + n_tokens > limit
            return self._assembled(chunks, media, prefix, encode=not is_counted)

    def close(self) -> None:
        """Free it; idempotent."""
        if self._handle:
            mtmd.mtmd_free(self._handle)
            self._handle = None

    def _assembled(
        self, chunks: Sequence[Any], media: Sequence[bytes], prefix: Sequence[int], *, encode: bool
    ) -> MediaPrompt:
        tokens, spans, position = [*prefix], list[MediaSpan](), len(prefix)
        runs = _Runs(chunks, media)
        for chunk in chunks:
            if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
                text_tokens = _text_tokens(chunk)
                tokens += text_tokens
                position += len(text_tokens)
                continue
            key = runs.key(chunk)
            if encode:
                spans.append(self._span(chunk, key, start=len(tokens), position=position))
            tokens += placeholder_ids(*key, mtmd.mtmd_input_chunk_get_n_tokens(chunk))
            position += mtmd.mtmd_input_chunk_get_n_pos(chunk)
        return MediaPrompt(tokens, tuple(spans))

    def _span(self, chunk: Any, key: tuple[str, int], *, start: int, position: int) -> MediaSpan:
        n_tokens = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
        is_causal = not mtmd.mtmd_decode_use_non_causal(self._handle, chunk)
        if not is_causal and n_tokens > self._n_batch:
            raise PromptTooLong(prompt_tokens=n_tokens, context_tokens=self._n_batch)
        return MediaSpan(
            start=start,
            n_tokens=n_tokens,
            n_positions=mtmd.mtmd_input_chunk_get_n_pos(chunk),
            embeddings=self._embeddings(chunk, key, n_tokens),
            positions=_positions(chunk, position, n_tokens) if self._is_2d else None,
            is_causal=is_causal,
        )

    def _embeddings(self, chunk: Any, key: tuple[str, int], n_tokens: int) -> Any:
        known = self._cache.get(key)
        if known is not None:
            return known
        if mtmd.mtmd_encode_chunk(self._handle, chunk) != 0:
            raise InvalidRequest(f"the image or sound cannot be encoded: {last_errors()}")
        rows = (ctypes.c_float * (n_tokens * self._width))()
        ctypes.memmove(rows, mtmd.mtmd_get_output_embd(self._handle), ctypes.sizeof(rows))
        self._cache.put(key, rows)
        return rows

    @contextlib.contextmanager
    def _chunks(self, text: str, media: Sequence[bytes], *, add_special: bool) -> Iterator[list[Any]]:
        with contextlib.ExitStack() as stack:
            bitmaps = [self._bitmap(content, stack) for content in media]
            raw = text.encode("utf-8", "surrogatepass")
            given = mtmd.mtmd_input_text(text=raw, text_len=len(raw), add_special=add_special, parse_special=True)
            chunks = mtmd.mtmd_input_chunks_init()
            stack.callback(mtmd.mtmd_input_chunks_free, chunks)
            pointers = (mtmd.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
            status = mtmd.mtmd_tokenize(self._handle, chunks, ctypes.byref(given), pointers, len(bitmaps))
            if status != 0:
                raise InvalidRequest(f"the images or sounds cannot be read: {last_errors()}")
            yield [mtmd.mtmd_input_chunks_get(chunks, n) for n in range(mtmd.mtmd_input_chunks_size(chunks))]

    def _bitmap(self, content: bytes, stack: contextlib.ExitStack) -> Any:
        raw = (ctypes.c_uint8 * len(content)).from_buffer_copy(content)
        bitmap = mtmd.mtmd_helper_bitmap_init_from_buf(self._handle, raw, len(content), False)  # noqa: FBT003
        if not bitmap:
            raise InvalidRequest("an image or sound is damaged and cannot be decoded: send the whole file")
        stack.callback(mtmd.mtmd_bitmap_free, bitmap)
        return bitmap


class _Runs:
    """Numbers the runs of embeddings of each medium; one that stands twice in a prompt has the same numbers twice."""

    def __init__(self, chunks: Sequence[Any], media: Sequence[bytes]) -> None:
        runs = collections.Counter(content_id for chunk in chunks if (content_id := _content_id(chunk)))
        times = collections.Counter(hashlib.sha256(content).hexdigest() for content in media)
        self._runs = {content_id: runs[content_id] // count for content_id, count in times.items()}
        if not all(self._runs.values()):
            raise InvalidRequest("an image or sound is too small to be read: send a larger one")
        self._seen: collections.Counter[str] = collections.Counter()

    def key(self, chunk: Any) -> tuple[str, int]:
        """Give content id and ordinal of the next run, in the order of the prompt."""
        content_id = _content_id(chunk)
        ordinal = self._seen[content_id] % self._runs[content_id]
        self._seen[content_id] += 1
        return content_id, ordinal


def _content_id(chunk: Any) -> str:
    """Give the SHA-256 that libmtmd took of the medium's file, nothing for text."""
    return (mtmd.mtmd_input_chunk_get_id(chunk) or b"").decode()


def _text_tokens(chunk: Any) -> list[int]:
    count = ctypes.c_size_t()
    tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return [*tokens[: count.value]]


def _positions(chunk: Any, first: int, n_tokens: int) -> list[list[int]]:
    """Lay out the positions as llama.cpp wants them: all of one dimension, then all of the next."""
    image = mtmd.mtmd_input_chunk_get_tokens_image(chunk)
    if not image:  # sound has one dimension
        return [[*range(first, first + n_tokens)]] * _POSITIONS_2D
    each = [mtmd.mtmd_image_tokens_get_decoder_pos(image, first, n) for n in range(n_tokens)]
    return [[at.t for at in each], [at.y for at in each], [at.x for at in each], [at.z for at in each]]
