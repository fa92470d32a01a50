"""What the processes tell each other about models: values inside messages, no messages themselves.

What travels often does so without the names of its fields, which would be most of it; new fields come last.
"""

import msgspec


class ModelDetails(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """The description that clients see under `details`."""

    parent_model: str = ""
    format: str = "gguf"
    family: str = ""
    families: tuple[str, ...] = ()
    parameter_size: str = ""
    quantization_level: str = ""


class ModelSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """A model as resolved by the gateway: all that scheduler and runner need to know of it.

    Two names that share their weights and adapters have the same `key` and share one runner.
    """

    key: str
    """Identity of what is loaded: digest of the weights, then of each adapter and projector, joined by `+`."""
    name: str
    """Shortest display name, with tag."""
    digest: str
    """SHA-256 of the manifest, 64 hex digits."""
    weights_path: str
    weights_bytes: int
    n_layers: int
    n_ctx_train: int
    kv_bytes_per_token: int
    """Keys and values of one token over all layers, for f16 caches."""
    state_bytes: int = 0
    """Of one sequence in recurrent layers, whatever its length."""
    overhead_bytes: int = 0
    """Estimate of what its runner takes of a host's memory beside weights and cache; 0: not known."""
    compute_bytes: int = 0
    """Buffers that a device needs for one batch."""
    expert_bytes: int = 0
    """How much of the weights are experts, of which a token uses few."""
    is_embedding: bool = False
    adapters: tuple[str, ...] = ()
    """LoRA files that are part of the model, used at full strength unless a job says otherwise."""
    draft_path: str = ""
    """A small model of the same vocabulary that guesses for this one; empty: none."""
    projector_paths: tuple[str, ...] = ()
    """Multimodal projectors; the first is used."""
    details: ModelDetails = ModelDetails()


class AdapterUse(msgspec.Struct, frozen=True, gc=False):
    """A LoRA file, and how strongly it shall work."""

    path: str
    scale: float = 1.0


class LoadOptions(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """Load-time options of a request; None means "any": whatever a loaded runner has fits."""

    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None


class LoadPlan(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """How a runner shall load its model: decided by the scheduler, unchanged for the runner's life."""

    num_ctx: int
    """Context of one slot, in tokens; the whole cache holds `num_ctx * n_slots`."""
    n_slots: int
    n_batch: int = 512
    n_threads: int = 1
    n_gpu_layers: int = 0
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] = ()
    """Shares of the devices by index, when the model lies on several; empty: on one."""
    n_expert_layers_on_host: int = 0
    """The experts of so many layers, from the first on, stay in the host's memory."""
    use_mmap: bool | None = None
    size_bytes: int = 0
    """Estimate of the host and device memory together."""
    kv_cache_type: str | None = None
    """Of keys and of values, one of `actors.kv_cache.NAMES`; None: of 16 bits, as it pays."""
    flash_attention: bool | None = None
    """None: where it pays."""
    kv_on_device: bool = True
    """Whether the cache of layers on a device, and attention over it, are there, too."""


class Device(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """One accelerator of a host."""

    index: int
    name: str
    total_bytes: int
    free_bytes: int


class HostFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """What a launcher knows of its host; `n_cores` counts physical cores that this process may use."""

    n_cores: int
    memory_total_bytes: int
    memory_available_bytes: int
    devices: tuple[Device, ...] = ()


class JobRef(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A job as a runner holds it."""

    job_id: str
    attempt: int
    gateway_id: str


class RunnerUse(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Figures of a heartbeat."""

    n_active: int = 0
    n_waiting: int = 0
    kv_used_tokens: int = 0
    rss_bytes: int = 0
    decode_tokens_per_s: float = 0.0
    n_threads: int = 0
    """What steps use of the runner's budget, as the host has cores free; 0 before there are any."""
    step_age_s: float = 0.0
    """Seconds since the decode thread last finished a step while it had work; 0 when it has none."""
    load_fraction: float = 0.0
    """How much of the model is read; means something while it loads."""
