"""The only import of `llama_cpp`: the low-level ctypes functions of libllama and libmtmd, and llama.cpp's log.

ctypes releases the GIL during each call, so a native call never blocks the other threads of the runner. llama.cpp's
log lines go to ours at DEBUG; the last few warnings and errors are kept, because its functions return no reason.
"""

import collections
import ctypes
import importlib.metadata
import logging
import re

import llama_cpp.llama_cpp as native
import llama_cpp.llama_cpp_ext as nextn
from llama_cpp import mtmd_cpp as mtmd

from actors.errors import FieldValue, LoadFailed, LoadOutOfMemory

__all__ = ["build_flags", "last_errors", "load_error", "mtmd", "native", "nextn", "on_log", "start_backend"]

log = logging.getLogger("llama.cpp")

_LEVEL_WARN, _LEVEL_ERROR = 3, 4  # enum ggml_log_level
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(failed|unable|not enough memory) to (allocate|reserve)|alloc\w* failed|bad_alloc", re.IGNORECASE
)
_last_errors: collections.deque[str] = collections.deque(maxlen=4)


@native.llama_log_callback  # type: ignore[untyped-decorator]  # ctypes has no types here
def on_log(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    """Take a line of llama.cpp's log, or of a library that comes with it."""
    line = text.decode("utf-8", "replace").rstrip()
    if level in (_LEVEL_WARN, _LEVEL_ERROR) and line:
        _last_errors.append(line)
    if line and level != 1:  # GGML_LOG_LEVEL_DEBUG is too much even for us: a line per graph node
        log.debug("%s", line)


def start_backend() -> None:
    """Initialise llama.cpp in this process; call it once, after the fork, on the thread that will own the model."""
    _last_errors.clear()
    native.llama_log_set(on_log, ctypes.c_void_p(0))
    native.llama_backend_init()


def last_errors() -> str:
    """Give llama.cpp's last complaints, the reason of a failed call that returned none."""
    return "; ".join(_last_errors) or "llama.cpp gave no reason"


def load_error(what: str, *, remedy: str = "", **fields: FieldValue) -> LoadFailed:
    """Make the error of a load that llama.cpp refused, with its complaints; a lack of memory has a class of its own."""
    reason = last_errors()
    kind = LoadOutOfMemory if _OUT_OF_MEMORY.search(reason) else LoadFailed
    return kind(f"{what}: {reason}{remedy}", **fields)


def build_flags() -> str:
    """Say which instruction sets and devices this llama.cpp was built for."""
    return str(native.llama_print_system_info().decode())


def build() -> str:
    """Name the llama.cpp that is loaded: cells that another one saved may mean something else."""
    return importlib.metadata.version("llama_cpp_python")
