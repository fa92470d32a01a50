"""A step that hangs: a library, preloaded into a server, in which llama.cpp's compute waits while a file exists."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import llama_cpp

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

typedef int (*compute)(void *, void *);

int ggml_backend_sched_graph_compute_async(void *scheduler, void *graph) {
    while (access(HANG_FILE, F_OK) == 0) usleep(10000);
    void *library = dlopen(GGML, RTLD_LAZY | RTLD_NOLOAD);
    return ((compute)dlsym(library, "ggml_backend_sched_graph_compute_async"))(scheduler, graph);
}
"""
_GGML = Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so.0"


@dataclasses.dataclass(frozen=True, slots=True)
class Hang:
    """Steps of all runners of a server hang while `file` exists; its environment names the `library`."""

    library: Path
    file: Path

    @property
    def environ(self) -> dict[str, str]:
        """What to give a server."""
        return {"LD_PRELOAD": str(self.library)}


def build_hang(folder: Path) -> Hang:
    """Compile the library into a folder; nothing hangs yet."""
    hang = Hang(folder / "hang.so", folder / "hang")
    compiler = next(path for name in ("cc", "gcc", "clang") if (path := shutil.which(name)))
    defined = [f'-DHANG_FILE="{hang.file}"', f'-DGGML="{_GGML}"']
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", *defined, "-o", str(hang.library), "-ldl"]
    subprocess.run(command, input=_SOURCE, text=True, check=True)
    return hang
