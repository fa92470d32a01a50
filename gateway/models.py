"""Installed models as requests need them: what a runner must know of a model, what it can do, how its prompt is made.

A model that was found before costs a few `stat` calls (`gateway.known_models`); any other look-up is done in a worker
thread, by the store, which remembers what it has read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from actors.errors import ModelNotFound, UnknownRenderer
from actors.messages.model import ModelDetails, ModelSpec
from gateway.known_models import KnownModels, Stamped, stamped
from gateway.parse.choice import dialect_for
from gateway.parse.dialect import Dialect
from registry.adapters import check_adapter
from registry.capabilities import EMBEDDING, THINKING, capabilities_of
from registry.engine import CHAT_TEMPLATE, PromptEngine, go_template_of, prompt_engine
from registry.estimate import expert_bytes, n_ctx_train, n_layers
from registry.memory import cache_needs, compute_bytes, host_overhead_bytes
from registry.model import InstalledModel
from registry.names import parse_name
from registry.store import Store

_USUAL_CONTEXT_TOKENS = 4096
_RANK = 4  # of GGUF's pooling types: a classifier over query and document

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as one request found it."""

    requested: str
    """The name as the client wrote it."""
    installed: InstalledModel
    spec: ModelSpec
    capabilities: tuple[str, ...]
    engine: PromptEngine
    is_reranker: bool
    """Whether it scores documents against a query, instead of giving vectors."""
    knows_developer: bool
    """Whether the chat template has a developer role of its own."""
    dialect: Dialect
    """How it marks thinking and calls."""

    @property
    def canonical(self) -> str:
        """The name with all its parts, as some error texts show it."""
        return self.installed.name.canonical

    @property
    def shifts(self) -> bool:
        """Whether an answer may outgrow the context, unless a request says otherwise."""
        return self.spec.details.family != "deepseek2"

    def can(self, capability: str) -> bool:
        """Tell whether the model has a capability."""
        return capability in self.capabilities

    def thinks(self, think: bool | str | None) -> bool:  # noqa: FBT001  # the wire's own type
        """Tell whether an answer may begin with thinking."""
        return self.can(THINKING) and think is not False

    @property
    def go_template(self) -> str | None:
        """The Go template that renders chats with this model; None: the Jinja template in its file does."""
        return self.installed.template if self.engine is PromptEngine.GO else None

    def check_renders(self) -> None:
        """Check that chats with this model can be rendered.

        Raises:
            UnknownRenderer: nothing in it says how.
        """
        if self.engine is PromptEngine.MISSING:
            raise UnknownRenderer(str(self.installed.config.renderer), model=self.spec.name)


class Models:
    """The models of one store, for trio's thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: KnownModels[ServedModel] = KnownModels()

    async def resolve(self, name: str) -> ServedModel:
        """Find a model by name.

        Raises:
            InvalidName: no model name.
            ModelNotFound: not installed; tells the name as it was given.
            InvalidManifest, InvalidGguf: it is damaged.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        found, files = await self.in_thread(lambda: self._found(name))
        if files is not None:
            self._known.put(name, files, found)
        return found

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run a blocking call on the store in a worker thread.

        Cancellation: waits for the call to end.
        """
        return await trio.to_thread.run_sync(call)

    def _found(self, name: str) -> tuple[ServedModel, Stamped | None]:
        """Find a model, and the files that say the same as long as they do not change; None when that is not sure."""
        found = self._resolve(name)
        installed = found.installed
        if parse_name(name) != installed.name:  # a model of exactly this name may come, and nothing else changes
            return found, None
        try:
            files = stamped((str(self.store.manifest_path(installed.name)), *map(str, installed.loaded_paths)))
        except OSError:
            return found, None
        # The stamps are younger than what was read: they count if the store still says the same.
        return found, files if self.store.resolve(name) is installed else None

    def _resolve(self, name: str) -> ServedModel:
        if not name:
            raise ModelNotFound(name)
        try:
            installed = self.store.resolve(name)
        except ModelNotFound as error:
            raise ModelNotFound(name) from error
        gguf = self.store.gguf(installed)
        adapters = self.store.adapters(installed)
        for adapter in adapters:
            check_adapter(adapter, gguf, name=installed.name.shortest)
        capabilities, cache = capabilities_of(installed, gguf), cache_needs(gguf)
        engine, jinja = prompt_engine(installed, gguf), gguf.text(CHAT_TEMPLATE)
        spec = ModelSpec(
            key=installed.load_key,
            name=installed.name.shortest,
            digest=installed.digest,
            weights_path=str(installed.weights_path),
            weights_bytes=gguf.size_bytes
            + sum(adapter.size_bytes for adapter in adapters)
            + sum(path.stat().st_size for path in (*installed.projectors, installed.draft) if path),
            n_layers=n_layers(gguf),
            expert_bytes=expert_bytes(gguf),
            n_ctx_train=n_ctx_train(gguf),
            kv_bytes_per_token=cache.whole_bytes_per_token,
            state_bytes=cache.state_bytes,
            overhead_bytes=host_overhead_bytes(gguf),
            compute_bytes=compute_bytes(gguf, num_ctx=_USUAL_CONTEXT_TOKENS),
            is_embedding=EMBEDDING in capabilities,
            draft_path=str(installed.draft or ""),
            projector_paths=tuple(str(path) for path in installed.projectors),
            adapters=tuple(map(str, installed.adapters)),
            details=details_of(installed),
        )
        return ServedModel(
            requested=name,
            installed=installed,
            spec=spec,
            capabilities=capabilities,
            engine=engine,
            knows_developer="developer" in ((installed.template if engine is PromptEngine.GO else None) or jinja),
            is_reranker=gguf.integer("pooling_type") == _RANK,
            dialect=_dialect(installed, jinja, engine),
        )


def _dialect(installed: InstalledModel, jinja: str, engine: PromptEngine) -> Dialect:
    parser = installed.config.parser or ""
    stored = go_template_of(installed) if engine is PromptEngine.GO else None
    if stored is None:
        return dialect_for(jinja, parser=parser)
    return dialect_for(stored.text, parser=parser, thinking_tags=stored.thinking_tags)


def details_of(installed: InstalledModel) -> ModelDetails:
    """Give the description that `/api/ps` shows."""
    config = installed.config
    return ModelDetails(
        parent_model="",
        format=config.model_format,
        family=config.model_family,
        families=config.model_families or (),
        parameter_size=config.model_type,
        quantization_level=config.file_type,
    )
