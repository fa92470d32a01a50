"""The LoRA adapters of one model: loaded once per file, chosen by set for each decode.

A context holds one set at a time; changing it makes llama.cpp reserve its graph anew, which costs some milliseconds, so
what is decoded together has one set. Owned by the decode thread, freed with the model at the latest.
"""

import collections
from collections.abc import Callable, Collection, Sequence
from typing import Any

from actors.errors import InvalidRequest, LoadFailed
from actors.messages.model import AdapterUse
from runners.llama.binding import last_errors, native
from runners.llama.model import Model

AdapterSet = tuple[tuple[str, float], ...]
"""Files and their scales, sorted, without those of scale 0: equal sets give equal tokens."""

NO_ADAPTERS: AdapterSet = ()
MOST_LOADED = 16


class Adapters:
    """Loads adapters when they are first asked for, and keeps `MOST_LOADED` of them."""

    def __init__(self, model: Model, own: Sequence[str] = ()) -> None:
        """Load the adapters that are part of the model itself.

        Raises:
            LoadFailed: llama.cpp refused one; the message carries its reason.
        """
        self._model = model
        self._loaded: collections.OrderedDict[str, Any] = collections.OrderedDict()
        try:
            self.own = tuple(sorted((path, 1.0) for path in own))
            """What is used where a job names nothing."""
            for path in own:
                self._loaded[path] = self._load(path)
        except InvalidRequest as error:
            raise LoadFailed(error.message) from error

    def set_of(
        self, uses: Sequence[AdapterUse] | None, *, busy: Collection[str], detach: Callable[[], None]
    ) -> AdapterSet:
        """Give the set for a job, loading what is new.

        Args:
            uses: what the job asks for; None for the model's own.
            busy: files that running jobs use, which stay loaded.
            detach: called before an adapter is freed, to take it from the context.

        Raises:
            InvalidRequest: llama.cpp refused a file, or too many are in use.
        """
        if uses is None:
            return self.own
        wanted = tuple(sorted((use.path, use.scale) for use in uses if use.scale))
        kept = {path for path, _ in (*wanted, *self.own)} | set(busy)
        for path, _ in wanted:
            if path not in self._loaded:
                self._make_room(kept, detach)
                self._loaded[path] = self._load(path)
            self._loaded.move_to_end(path)
        return wanted

    def handles(self, chosen: AdapterSet) -> list[Any]:
        """Give the native handles of a set."""
        return [self._loaded[path] for path, _ in chosen]

    def _make_room(self, kept: Collection[str], detach: Callable[[], None]) -> None:
        if len(self._loaded) < MOST_LOADED:
            return
        oldest = next((path for path in self._loaded if path not in kept), None)
        if oldest is None:
            raise InvalidRequest(f"over {MOST_LOADED} adapters of one model are in use at once: try again later")
        detach()
        native.llama_adapter_lora_free(self._loaded.pop(oldest))

    def _load(self, path: str) -> Any:
        handle = native.llama_adapter_lora_init(self._model.handle, path.encode())
        if not handle:
            raise InvalidRequest(f"llama.cpp could not load a LoRA adapter: {last_errors()}")
        if native.llama_adapter_get_alora_n_invocation_tokens(handle):
            native.llama_adapter_lora_free(handle)
            raise InvalidRequest("adapters that are activated by a text of their own (aLoRA) are not supported")
        return handle
