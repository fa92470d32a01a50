"""Placement: how a model would be loaded into given room, or that it would not fit. Pure.

Theory of operation. `placement_for` tries plans from the most to the least wanted and returns the first that fits.
How far it goes down is the caller's `Effort`: as wanted (all slots that a quarter of the memory can hold keys and
values for); squeezed (down to one slot: slots go before context); and alone, when nothing else could be unloaded any
more (then a context that nobody asked for shrinks, layers may stay on the host, and mapped weights need not be
resident).

A plan always fits the options it was made for (`misfit`), or a request would have its model reloaded for ever; a
property test holds this.

Size: weights + keys and values of all slots + overhead. Facts on llama.cpp's cache: one slot's context is padded to
256 tokens; a whole cache holds `num_ctx * n_slots`.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from actors.messages.model import LoadOptions, LoadPlan, ModelSpec
from actors.scheduler.memory import Room, Share
from actors.settings import Settings

ALL_LAYERS = 999
DEFAULT_SLOTS = 8
EMBEDDING_SLOTS = 64
"""Requests that an embedding model takes at once: its slots cost nothing, and it batches across requests."""
DEFAULT_BATCH_TOKENS = 512
MIN_BATCH_TOKENS = 64
"""llama.cpp aborts with fewer tokens in a batch than there are sequences."""
MAX_BATCH_TOKENS = 2048
MIN_CONTEXT_TOKENS = 4
OOM_CONTEXT_TIERS = (32_768, 4096, 2048)
"""What an automatic context falls back to when it could not be had."""
REDUCED_CONTEXT_TOKENS = 2048
"""An automatic context does not shrink below this: a chat of a few turns."""
_CONTEXT_PADDING_TOKENS = 256
_GIB = 1 << 30
_CONTEXT_TIERS = ((47 * _GIB, 262_144), (23 * _GIB, 32_768))  # device memory → context, as Ollama's tiers
_CONTEXT_WITHOUT_TIER = 4096
_KV_SHARE = 4  # automatic slots take at most one fourth of the memory for keys and values
_DEVICE_PERCENT = 80  # of a device's free memory: the rest is for what estimates miss, as in Ollama
_OVERHEAD_BYTES = 128 << 20  # interpreter, libraries and compute buffers of a small model
_OVERHEAD_SHARE = 20  # compute buffers grow with the model: one twentieth of its weights


class Effort(enum.IntEnum):
    """How much to give up to make a model fit."""

    WANTED = 0
    SQUEEZED = 1
    ALONE = 2


@dataclass(frozen=True, slots=True)
class Experience:
    """What earlier loads of a model have taught."""

    overhead_bytes: int | None = None
    """What they took beside weights and cache; None: estimate it."""
    max_num_ctx: int | None = None
    """Bound of an automatic context; a larger one ran out of memory."""
    must_be_alone: bool = False
    """The last one ran out of memory: the next is to have its host for itself."""


NO_EXPERIENCE = Experience()


@dataclass(frozen=True, slots=True)
class Placement:
    """A plan and the memory it takes where."""

    plan: LoadPlan
    share: Share
    reason: str = ""
    """Where that is, and why, for people."""


def default_num_ctx(room: Room, settings: Settings, known: Experience = NO_EXPERIENCE) -> int:
    """Give the context of a request that asks for none, before the model's own limit."""
    wanted = _default_num_ctx(room, settings)
    return wanted if known.max_num_ctx is None else min(wanted, known.max_num_ctx)


def _default_num_ctx(room: Room, settings: Settings) -> int:
    if settings.context_length:
        return settings.context_length
    for at_least_bytes, num_ctx in _CONTEXT_TIERS:
        if room.device_total_bytes >= at_least_bytes:
            return num_ctx
    return _CONTEXT_WITHOUT_TIER


def num_ctx_for(model: ModelSpec, wanted: int) -> int:
    """Bound a context by what the model was trained for."""
    most = model.n_ctx_train if model.n_ctx_train > 0 else wanted
    return max(MIN_CONTEXT_TOKENS, min(wanted, most))


def n_batch_for(model: ModelSpec, options: LoadOptions, num_ctx: int) -> int:
    """Give the batch size; an embedding model takes an input in one batch, so its batch is its context."""
    default = num_ctx if model.is_embedding else DEFAULT_BATCH_TOKENS
    return max(MIN_BATCH_TOKENS, min(MAX_BATCH_TOKENS, options.num_batch or default))


def kv_bytes(model: ModelSpec, num_ctx: int, n_slots: int) -> int:
    """Give the size of the cache; an embedding model has one for all its slots."""
    padded = -(-num_ctx // _CONTEXT_PADDING_TOKENS) * _CONTEXT_PADDING_TOKENS
    n_sequences = 1 if model.is_embedding else n_slots
    return n_sequences * (padded * model.kv_bytes_per_token + model.state_bytes)


def overhead_bytes(model: ModelSpec) -> int:
    """Estimate all that is neither weights nor cache, on a host."""
    return model.overhead_bytes or _OVERHEAD_BYTES + model.weights_bytes // _OVERHEAD_SHARE


def size_bytes(model: ModelSpec, num_ctx: int, n_slots: int, known: Experience = NO_EXPERIENCE) -> int:
    """Estimate the memory of a loaded model, wherever it lies."""
    overhead = overhead_bytes(model) if known.overhead_bytes is None else known.overhead_bytes
    return model.weights_bytes + kv_bytes(model, num_ctx, n_slots) + overhead


def misfit(plan: LoadPlan, options: LoadOptions, model: ModelSpec, *, has_devices: bool) -> str | None:
    """Tell why a loaded model does not serve a request with these options; None: it does.

    An unset option means any, a smaller context fits a larger one, and the number of threads can change any time.
    Options about devices mean nothing on a host without.
    """
    if options.num_ctx is not None and (num_ctx := num_ctx_for(model, options.num_ctx)) > plan.num_ctx:
        return f"num_ctx {num_ctx} is more than {plan.num_ctx}"
    if options.num_batch is not None and n_batch_for(model, options, plan.num_ctx) != plan.n_batch:
        return f"num_batch {options.num_batch} is not {plan.n_batch}"
    if options.use_mmap is not None and options.use_mmap != (plan.use_mmap is not False):
        return f"use_mmap is to be {str(options.use_mmap).lower()}"
    return _device_misfit(plan, options) if has_devices else None


def _device_misfit(plan: LoadPlan, options: LoadOptions) -> str | None:
    if options.main_gpu is not None and plan.n_gpu_layers and options.main_gpu != plan.main_gpu:
        return f"main_gpu {options.main_gpu} is not {plan.main_gpu}"
    if options.num_gpu is None or options.num_gpu < 0 or options.num_gpu == plan.n_gpu_layers:
        return None
    return f"num_gpu {options.num_gpu} is not {plan.n_gpu_layers}"


def placement_for(
    model: ModelSpec,
    options: LoadOptions,
    room: Room,
    settings: Settings,
    effort: Effort,
    *,
    known: Experience = NO_EXPERIENCE,
) -> Placement | None:
    """Give the best plan that fits into the room, or None."""
    layout = _Layout(model, options, room, effort, is_spread=settings.sched_spread)
    num_ctx = num_ctx_for(model, options.num_ctx or default_num_ctx(room, settings, known))
    for n_slots in _slot_counts(model, num_ctx, room, settings, effort):
        placement = layout.of(_Size(model, num_ctx, n_slots, known, bool(room.device_bytes)))
        if placement is not None:
            return placement
    while effort is Effort.ALONE and not options.num_ctx and num_ctx > REDUCED_CONTEXT_TOKENS:
        num_ctx = max(REDUCED_CONTEXT_TOKENS, num_ctx // 2)
        placement = layout.of(_Size(model, num_ctx, 1, known, bool(room.device_bytes)))
        if placement is not None:
            return placement
    return None


def least_bytes(
    model: ModelSpec, options: LoadOptions, room: Room, settings: Settings, known: Experience = NO_EXPERIENCE
) -> int:
    """Give the memory that the smallest plan needs, for the error that says so."""
    wanted = num_ctx_for(model, options.num_ctx or default_num_ctx(room, settings, known))
    return size_bytes(model, wanted if options.num_ctx else min(wanted, REDUCED_CONTEXT_TOKENS), 1, known)


@dataclass(frozen=True, slots=True)
class _Size:
    """How large a model would be loaded."""

    model: ModelSpec
    num_ctx: int
    n_slots: int
    known: Experience
    has_devices: bool
    """Whether buffers must be paid for as a device takes them; a host only gives what is used of them."""

    @property
    def movable_bytes(self) -> int:
        """What layers carry with them: weights and cache."""
        return self.model.weights_bytes + kv_bytes(self.model, self.num_ctx, self.n_slots)

    @property
    def overhead_bytes(self) -> int:
        known = self.known.overhead_bytes
        if known is not None:
            return known
        return overhead_bytes(self.model) + (self.model.compute_bytes if self.has_devices else 0)

    @property
    def total_bytes(self) -> int:
        return self.movable_bytes + self.overhead_bytes


def _slot_counts(model: ModelSpec, num_ctx: int, room: Room, settings: Settings, effort: Effort) -> Iterator[int]:
    if model.is_embedding:
        yield EMBEDDING_SLOTS
        return
    n_slots = settings.num_parallel or DEFAULT_SLOTS
    free = max(room.device_bytes.values(), default=0) or room.host_bytes
    if settings.num_parallel is None:
        while n_slots > 1 and kv_bytes(model, num_ctx, n_slots) * _KV_SHARE > free:
            n_slots //= 2
    yield n_slots
    while effort is not Effort.WANTED and n_slots > 1:
        n_slots //= 2
        yield n_slots


@dataclass(frozen=True, slots=True)
class _Layout:
    """Lays a size out over the devices and the host of a room."""

    model: ModelSpec
    options: LoadOptions
    room: Room
    effort: Effort
    is_spread: bool

    def of(self, size: _Size) -> Placement | None:
        """Give the placement of one size, or None if it does not fit."""
        num_gpu, main_gpu = self.options.num_gpu, self.options.main_gpu
        if not self.room.device_bytes or num_gpu == 0:
            why = "host: num_gpu is 0" if self.room.device_bytes else "host: it has no devices"
            return self._on_host(size, why)
        devices = dict(self.room.device_bytes)
        if main_gpu is not None and main_gpu in devices:
            devices = {main_gpu: devices[main_gpu]}
        if num_gpu is not None and num_gpu > 0:
            return self._split(size, devices, num_gpu, f"num_gpu is {num_gpu}")
        for chosen in self._choices(devices):
            if size.total_bytes * 100 <= sum(chosen.values()) * _DEVICE_PERCENT:
                why = "one is enough" if len(chosen) == 1 else "spread" if self.is_spread else "one is too small"
                return self._split(size, chosen, ALL_LAYERS, why)
        if self.effort is not Effort.ALONE:
            return None
        return self._partial(size, devices)

    def _choices(self, devices: dict[int, int]) -> Iterator[dict[int, int]]:
        """Give sets of devices, as few and as free ones as possible first."""
        freest_first = sorted(devices, key=lambda index: (-devices[index], index))
        for count in range(len(devices) if self.is_spread else 1, len(devices) + 1):
            yield {index: devices[index] for index in freest_first[:count]}

    def _partial(self, size: _Size, devices: dict[int, int]) -> Placement | None:
        """Leave on the host what does not fit on the devices: experts first, which are touched least, then layers."""
        free = sum(devices.values()) * _DEVICE_PERCENT // 100
        n_layers, experts = max(1, self.model.n_layers), self.model.expert_bytes
        excess = size.total_bytes - free
        if excess <= experts:
            n_expert_layers = -(-excess * n_layers // experts)
            on_host = experts * n_expert_layers // n_layers
            return self._split(
                size, devices, ALL_LAYERS, "experts on the host", on_host=on_host, n_expert_layers=n_expert_layers
            )
        fitting = self._layers_that_fit(size, sum(devices.values()))
        if fitting <= 0:
            return self._on_host(size, "host: no layer fits on a device")
        return self._split(size, devices, fitting, f"{fitting} of {n_layers} layers fit")

    def _layers_that_fit(self, size: _Size, free_bytes: int) -> int:
        per_layer = size.movable_bytes // max(1, self.model.n_layers)
        return (free_bytes * _DEVICE_PERCENT // 100 - size.overhead_bytes) // max(1, per_layer)

    def _split(
        self,
        size: _Size,
        devices: dict[int, int],
        n_gpu_layers: int,
        why: str,
        *,
        on_host: int = 0,
        n_expert_layers: int = 0,
    ) -> Placement | None:
        """Put so many layers on these devices, in proportion to their free memory, and the rest on the host."""
        n_layers = max(1, self.model.n_layers)
        moved = size.movable_bytes * min(n_gpu_layers, n_layers) // n_layers - on_host
        on_host, on_devices = size.movable_bytes - moved, moved + size.overhead_bytes
        free = sum(devices.values())
        # Alone, layers that a request named are tried even if we think that they are too many.
        if on_host > self.room.host_bytes or (on_devices > free and self.effort is not Effort.ALONE):
            return None
        taken = {index: on_devices * each // max(1, free) for index, each in devices.items()}
        main_gpu = self.options.main_gpu
        if main_gpu is None and len(devices) == 1:
            main_gpu = next(iter(devices))
        plan = self._plan(size, n_gpu_layers=n_gpu_layers, main_gpu=main_gpu)
        split = tuple(taken.get(index, 0) / max(1, on_devices) for index in range(max(devices) + 1))
        plan = msgspec.structs.replace(
            plan, tensor_split=split if len(devices) > 1 else (), n_expert_layers_on_host=n_expert_layers
        )
        names = "device " + "+".join(str(index) for index in sorted(devices))
        return _placement(plan, Share(on_host, taken), f"{names}: {why}")

    def _on_host(self, size: _Size, why: str) -> Placement | None:
        needed, room = size.total_bytes, self.room
        if needed > room.host_bytes:
            # Mapped weights are page cache: alone on its host a model may page them in again and again, which is
            # slow but works, and is what users of small machines expect.
            is_pageable = self.effort is Effort.ALONE and self.options.use_mmap is not False
            is_too_much = needed > room.host_total_bytes or needed - self.model.weights_bytes > room.host_bytes
            if is_too_much or not is_pageable:
                return None
        plan = self._plan(size, n_gpu_layers=0, main_gpu=self.options.main_gpu)
        return _placement(plan, Share(needed), why)

    def _plan(self, size: _Size, *, n_gpu_layers: int, main_gpu: int | None) -> LoadPlan:
        return LoadPlan(
            num_ctx=size.num_ctx,
            n_slots=size.n_slots,
            n_batch=n_batch_for(self.model, self.options, size.num_ctx),
            n_threads=max(1, self.options.num_thread or 1),
            n_gpu_layers=n_gpu_layers,
            main_gpu=main_gpu,
            use_mmap=self.options.use_mmap,
        )


def _placement(plan: LoadPlan, share: Share, reason: str) -> Placement:
    return Placement(msgspec.structs.replace(plan, size_bytes=share.total_bytes), share, reason)
