"""Configuration from the environment: Ollama's variables, and ours with the prefix LLAMACTOR_.

Values are trimmed of blanks and quotes. A bad number falls back to its default and is reported, as Ollama does;
any text but Go's false words counts as true.
"""

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from actors import kv_cache
from actors.durations import MAX_DURATION_S, parse_duration_s
from actors.errors import InvalidRequest

DEFAULT_PORT = 11434
FOREVER_S = MAX_DURATION_S
_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}
_LONGEST_IPC_PATH_BYTES = 107  # sun_path of sockaddr_un, less its final NUL
_LONGEST_SOCKET_NAME_BYTES = 40
_LAST_PORT = 65535
_LEAST_WEIGHT = 0.01
_LONGEST_NUMBER = 18
"""Digits that an int64 always holds."""

log = logging.getLogger(__name__)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the environment decides, read once per process."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    models: Path = msgspec.field(default_factory=lambda: default_models())  # noqa: PLW0108 - defined below
    keep_alive_s: float = 300.0
    """Idle allowance of a model; `FOREVER_S` or more means that it never expires."""
    load_timeout_s: float = 300.0
    num_parallel: int | None = None
    """Slots per runner; None lets memory decide."""
    max_loaded_models: int | None = None
    max_queue: int = 512
    context_length: int | None = None
    no_prune: bool = False
    origins: tuple[str, ...] = ()
    debug: bool = False
    run_dir: Path
    """Sockets and locks of this process; mode 0700."""
    scheduler_endpoint: str
    drain_timeout_s: float = 30.0
    queue_timeout_s: float = 600.0
    step_timeout_s: float = 120.0
    """A prefill chunk of a huge model takes a minute on a CPU."""
    kv_cache_type: str | None = None
    """One of `kv_cache.NAMES`; None: of 16 bits, as it pays."""
    flash_attention: bool | None = None
    """None: where it pays."""
    kv_on_device: bool = True
    go_templates: bool | None = None
    """Whether models' Go templates are used wherever there are any, or never; None: as each model needs."""
    sched_spread: bool = False
    """Whether a model is always spread over all devices of its host."""
    gpu_overhead_bytes: int = 0
    """Memory of each device that is left alone."""
    tenant_weights: dict[str, float] = {}
    """Shares of the slots by tenant, 1 where none is given."""
    preload: tuple[str, ...] = ()
    """Models that are loaded at the start."""
    gateway_workers: int = 1
    identity: Path | None = None
    """Key file by which registries know this user; None when there is no home folder for it."""
    registry: bool | None = None
    """Whether `/v2` serves the store; None means on a loopback address only."""
    registry_keys: Path | None = None
    """File with the public keys that may write through `/v2`, one per line as in `authorized_keys`."""
    pull_rate_bytes_s: int = 0
    """Bound of what all pulls and pushes together transfer; 0 means none."""
    tls_cert: Path | None = None
    """Certificate chain and key, both or neither; the gateway then speaks TLS only."""
    tls_key: Path | None = None
    kv_memory_bytes: int | None = None
    """Host memory in which each runner keeps conversations that left their slots; None: a share of the host's."""
    kv_disk_bytes: int = 4 << 30
    """Disk space for such conversations, of all runners together; 0 keeps none."""
    kv_dir: Path | None = None
    """Their folder; None keeps none on disk."""
    max_body_bytes: int = 64 << 20
    """Bound of a JSON request body; blobs are streamed and have none."""


def settings_from(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from an environment.

    Raises:
        InvalidRequest: the run folder's path is too long for a socket in it, there is no home folder for the store, or
            the settings of the KV cache name what there is not.
    """
    env = _Environment(environ)
    host, port = split_host(env.text("OLLAMA_HOST"))
    run_dir = _run_dir(environ, port)
    if len(bytes(run_dir)) + _LONGEST_SOCKET_NAME_BYTES > _LONGEST_IPC_PATH_BYTES:
        raise InvalidRequest(
            f"the run folder {run_dir} is too long for sockets (at most "
            f"{_LONGEST_IPC_PATH_BYTES - _LONGEST_SOCKET_NAME_BYTES} bytes): set LLAMACTOR_RUN_DIR to a shorter path"
        )
    keep_alive_s = env.duration_s("OLLAMA_KEEP_ALIVE", 300.0)
    load_timeout_s = env.duration_s("OLLAMA_LOAD_TIMEOUT", 300.0)
    return Settings(
        host=host,
        port=port,
        models=models_folder(environ),
        keep_alive_s=keep_alive_s if keep_alive_s >= 0 else FOREVER_S,
        load_timeout_s=load_timeout_s if load_timeout_s > 0 else FOREVER_S,
        num_parallel=env.count("OLLAMA_NUM_PARALLEL", 0) or None,
        max_loaded_models=env.count("OLLAMA_MAX_LOADED_MODELS", 0) or None,
        max_queue=env.count("OLLAMA_MAX_QUEUE", 512) or 512,
        context_length=env.count("OLLAMA_CONTEXT_LENGTH", 0) or None,
        no_prune=env.flag("OLLAMA_NOPRUNE"),
        origins=tuple(part.strip() for part in env.text("OLLAMA_ORIGINS").split(",") if part.strip()),
        debug=env.flag("OLLAMA_DEBUG"),
        run_dir=run_dir,
        scheduler_endpoint=env.text("LLAMACTOR_SCHEDULER") or f"ipc://{run_dir}/scheduler.sock",
        drain_timeout_s=env.duration_s("LLAMACTOR_DRAIN_TIMEOUT", 30.0),
        queue_timeout_s=env.duration_s("LLAMACTOR_QUEUE_TIMEOUT", 600.0),
        step_timeout_s=env.duration_s("LLAMACTOR_STEP_TIMEOUT", 120.0),
        kv_cache_type=_kv_cache_type(env),
        flash_attention=env.choice("OLLAMA_FLASH_ATTENTION"),
        kv_on_device=env.choice("LLAMACTOR_KV_ON_DEVICE") is not False,
        go_templates=env.choice("OLLAMA_GO_TEMPLATE"),
        sched_spread=env.flag("OLLAMA_SCHED_SPREAD"),
        gpu_overhead_bytes=env.count("OLLAMA_GPU_OVERHEAD", 0),
        tenant_weights=env.weights("LLAMACTOR_TENANT_WEIGHTS"),
        preload=tuple(part.strip() for part in env.text("LLAMACTOR_PRELOAD").split(",") if part.strip()),
        gateway_workers=env.count("LLAMACTOR_GATEWAY_WORKERS", 1) or 1,
        identity=_path_or_none(env.text("LLAMACTOR_IDENTITY") or "~/.ollama/id_ed25519"),
        registry=env.flag("LLAMACTOR_REGISTRY") if env.text("LLAMACTOR_REGISTRY") else None,
        registry_keys=_path_or_none(env.text("LLAMACTOR_REGISTRY_KEYS") or "~/.ollama/authorized_keys"),
        pull_rate_bytes_s=env.count("LLAMACTOR_PULL_RATE", 0),
        tls_cert=_path(env.text("LLAMACTOR_TLS_CERT")) if env.text("LLAMACTOR_TLS_CERT") else None,
        tls_key=_path(env.text("LLAMACTOR_TLS_KEY")) if env.text("LLAMACTOR_TLS_KEY") else None,
        kv_memory_bytes=env.count("LLAMACTOR_KV_MEMORY", 0) if env.text("LLAMACTOR_KV_MEMORY") else None,
        kv_disk_bytes=env.count("LLAMACTOR_KV_DISK", 4 << 30),
        kv_dir=_path_or_none(env.text("LLAMACTOR_KV_DIR") or _cache_dir(environ) + "/llamactor/kv"),
        max_body_bytes=env.count("LLAMACTOR_MAX_BODY", 64 << 20) or 64 << 20,
    )


def _kv_cache_type(env: "_Environment") -> str | None:
    name = env.text("OLLAMA_KV_CACHE_TYPE").lower()
    if not name:
        return None
    if name not in kv_cache.NAMES:
        raise InvalidRequest(f"OLLAMA_KV_CACHE_TYPE: {name!r} is none of {', '.join(kv_cache.NAMES)}")
    if kv_cache.is_quantized(name) and env.choice("OLLAMA_FLASH_ATTENTION") is False:
        raise InvalidRequest(
            f"OLLAMA_KV_CACHE_TYPE={name} needs flash attention: unset OLLAMA_FLASH_ATTENTION, or use f16"
        )
    return name


def _cache_dir(environ: Mapping[str, str]) -> str:
    """Give the user's cache folder, as the XDG base directory specification has it."""
    given = environ.get("XDG_CACHE_HOME", "")
    return given if given.startswith("/") else "~/.cache"


def models_folder(environ: Mapping[str, str]) -> Path:
    """Give the model store's folder.

    Raises:
        InvalidRequest: this user has no home folder.
    """
    text = _Environment(environ).text("OLLAMA_MODELS")
    return _path(text) if text else default_models()


def default_models() -> Path:
    """Give the store's default place, Ollama's own.

    Raises:
        InvalidRequest: this user has no home folder.
    """
    return _path("~") / ".ollama" / "models"


def split_host(text: str) -> tuple[str, int]:
    """Split an OLLAMA_HOST value, `[scheme://]host[:port][/path]`, into host and port; empty parts take defaults."""
    default_port = {"http": 80, "https": 443}.get(text.partition("://")[0], DEFAULT_PORT) if "://" in text else None
    rest = text.rpartition("://")[2].partition("/")[0]
    host, port_text = rest, ""
    if rest.startswith("["):
        host, _, after = rest[1:].partition("]")
        port_text = after.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port_text = rest.partition(":")
    port = _whole_number(port_text)
    if port is None or port > _LAST_PORT:
        port = default_port or DEFAULT_PORT
        if port_text:
            log.warning("OLLAMA_HOST: invalid port %r, using %d", port_text, port)
    return host or "127.0.0.1", port


class _Environment:
    """Typed reads of an environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip(" \t\"'")

    def flag(self, name: str) -> bool:
        text = self.text(name)
        return bool(text) and text not in _FALSE

    def choice(self, name: str) -> bool | None:
        """Read a truth value of Go's, None where there is none.

        Raises:
            InvalidRequest: it is something else. A wrong guess here would cost memory or speed without a sign.
        """
        text = self.text(name)
        if text in {"", "auto"}:
            return None
        if text not in _TRUE | _FALSE:
            raise InvalidRequest(f"{name}: {text!r} is neither true nor false: set 1 or 0, or unset it")
        return text in _TRUE

    def count(self, name: str, default: int) -> int:
        text = self.text(name)
        number = _whole_number(text)
        if number is not None:
            return number
        if text:
            log.warning("%s: %r is not a number, using %d", name, text, default)
        return default

    def weights(self, name: str) -> dict[str, float]:
        """Read `TENANT=WEIGHT,…`; what is no positive number is left out and reported."""
        found: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in self.text(name).split(","))):
            tenant, _, text = part.rpartition("=")
            try:
                weight = float(text)
            except ValueError:
                weight = 0.0
            if tenant and _LEAST_WEIGHT <= weight <= 1 / _LEAST_WEIGHT:
                found[tenant] = weight
            else:
                log.warning("%s: %r is not TENANT=WEIGHT with a weight from 0.01 to 100: left out", name, part)
        return found

    def duration_s(self, name: str, default: float) -> float:
        """Read a Go duration, or whole seconds."""
        text = self.text(name)
        if not text:
            return default
        number = _whole_number(text.removeprefix("-").removeprefix("+"))
        try:
            return parse_duration_s(text if number is None else f"{text}s")
        except InvalidRequest as error:
            log.warning("%s: %s, using %g s", name, error.message, default)
            return default


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER else None


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidRequest(f"{text}: this user has no home folder: set OLLAMA_MODELS to an absolute path") from error


def _path_or_none(text: str) -> Path | None:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        return None


def _run_dir(environ: Mapping[str, str], port: int) -> Path:
    # systemd gives RUNTIME_DIRECTORY; a login session gives XDG_RUNTIME_DIR, where two servers of one user are
    # told apart by their port.
    for name in ("LLAMACTOR_RUN_DIR", "RUNTIME_DIRECTORY"):
        if environ.get(name):
            return Path(environ[name].partition(":")[0]).absolute()
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"]).absolute() / f"llamactor-{port}"
    return Path(tempfile.gettempdir()).absolute() / f"llamactor-{os.getuid()}-{port}"
