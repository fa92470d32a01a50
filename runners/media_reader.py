"""The media thread: unpacks, encodes and remembers what clients send as images and sounds.

Encoding an image takes seconds on a CPU, so it happens beside the decode thread and the tokenizer, on a thread that
owns the projectors, of which a model may have one for images and one for sounds. They are loaded when the model is; a
failure concerns requests with media only.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import msgspec

from actors.errors import InvalidRequest, LlamactorError, LoadFailed, UnsupportedByModel
from actors.log import get_logger
from actors.messages.job import MEDIA_PLACE, ChatMessage, RawPrompt
from actors.messages.model import LoadPlan, ModelSpec
from runners.call_thread import CallThread
from runners.llama.model import Model
from runners.llama.projector import Projector
from runners.media import MediaPrompt
from runners.media_files import MOST_MEDIA, Medium, medium_of

log = get_logger(__name__)

T = TypeVar("T")

_NUMBERED = re.compile(r"\[img-(\d{1,4})\]")


class MediaReader:
    """Reads prompts with media; the methods are for the trio thread."""

    def __init__(self, model: Model, spec: ModelSpec, plan: LoadPlan) -> None:
        self._model = model
        self._spec = spec
        self._plan = plan
        self._thread: CallThread | None = None
        self._projectors: list[Projector] | None = None  # owned by the thread

    async def marker(self, media: Sequence[bytes]) -> str:
        """Give the text that marks a medium's place in a prompt, for these files.

        Raises:
            InvalidRequest: one is neither an image nor a sound, or there are too many.
            LoadFailed: the projector does not load.
            UnsupportedByModel: the model has no projector, or none for this kind of media.
        """
        if len(media) > MOST_MEDIA:
            raise InvalidRequest(f"{len(media)} images or sounds in one request: send at most {MOST_MEDIA}")
        kinds = dict.fromkeys(medium_of(content) for content in media)
        if not self._spec.projector_paths:
            wanted = " and ".join(kind.value for kind in kinds)
            raise UnsupportedByModel(self._spec.name, f"{wanted}: it has no projector, choose a model that has one")
        return (await self._on_thread(lambda: self._for(kinds))).marker

    async def read(self, text: str, media: Sequence[bytes], *, limit: int, prefix: Sequence[int] = ()) -> MediaPrompt:
        """Tokenize a prompt with a marker per medium and encode these, unless it has more than `limit` tokens.

        Cancellation: the result is dropped; the thread finishes first.

        Raises:
            InvalidRequest: the files cannot be decoded.
            LoadFailed: the projector does not load.
        """
        kinds = {medium_of(content) for content in media}
        return await self._on_thread(lambda: self._for(kinds).read(text, media, limit=limit, prefix=prefix))

    def load(self) -> None:
        """Begin to load the projector, if the model has one; who needs it waits for it."""
        if self._spec.projector_paths:
            self._calls().post(self._load_early)

    def close(self) -> None:
        """End the thread and free the projector: the model may be freed then."""
        if self._thread is not None:
            self._thread.close(self._free)

    async def _on_thread(self, call: Callable[[], T]) -> T:
        return await self._calls().run(call)

    def _calls(self) -> CallThread:
        if self._thread is None:
            self._thread = CallThread("media")
        return self._thread

    def _load_early(self) -> None:
        try:
            self._loaded()
        except LlamactorError as error:
            log.error("%s answers text only: %s", self._spec.name, error)

    def _for(self, kinds: Collection[Medium]) -> Projector:
        """Choose the projector that reads all these kinds.

        Raises:
            UnsupportedByModel: none does.
        """
        projectors = self._loaded()
        for kind in kinds:
            if not any(projector.reads(kind) for projector in projectors):
                raise UnsupportedByModel(self._spec.name, kind.value)
        for projector in projectors:
            if all(projector.reads(kind) for kind in kinds):
                return projector
        together = " and ".join(kind.value for kind in kinds)
        raise UnsupportedByModel(self._spec.name, f"{together} in one request: send them in two")

    def _loaded(self) -> list[Projector]:
        if self._projectors is None:
            self._projectors = []
            try:
                for path in self._spec.projector_paths:
                    self._projectors.append(self._opened(path))
            except LoadFailed:
                self._free()
                raise
        return self._projectors

    def _opened(self, path: str) -> Projector:
        return Projector(
            path,
            self._model,
            n_threads=self._plan.n_threads,
            n_batch=self._plan.n_batch,
            use_gpu=self._plan.n_gpu_layers > 0,
        )

    def _free(self) -> None:
        for projector in self._projectors or ():
            projector.close()
        self._projectors = None


def marked(message: ChatMessage, marker: str) -> ChatMessage:
    """Put a marker for each medium of a message into its text: where `[img]` stands, the others in front."""
    text, n_front = message.content, 0
    for _ in message.media:
        if MEDIA_PLACE in text:
            text = text.replace(MEDIA_PLACE, marker, 1)
        else:
            n_front += 1
    return msgspec.structs.replace(message, content=marker * n_front + text, media=())


def numbered(prompt: RawPrompt, marker: str) -> tuple[str, list[bytes]]:
    """Put markers where `[img-0]`, `[img-1]` and so on stand; give the text and the files in their order.

    Raises:
        InvalidRequest: a file has no place in the text.
    """
    media: list[bytes] = []
    used: set[int] = set()

    def place(found: re.Match[str]) -> str:
        number = int(found[1])
        if number >= len(prompt.media):
            return found[0]
        used.add(number)
        media.append(prompt.media[number])
        return marker

    text = _NUMBERED.sub(place, prompt.text)
    missing = next((number for number in range(len(prompt.media)) if number not in used), None)
    if missing is not None:
        raise InvalidRequest(f"a raw prompt says where its images are: put [img-{missing}] into the text")
    return text, media
