"""A gate in front of llama.cpp's steps, so that an answer stands still in its middle for as long as a test needs.

A library, preloaded into a server, in which the steps of each runner wait while the gate's file exists and the process
has made as many as the file says since it came. A small model writes thousands of tokens before a test has found a
process to kill; this way its answer is never over by then, on no machine.
"""

import contextlib
import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import llama_cpp

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef int (*compute)(void *, void *);

static int steps_let_through(void) {
    int number = -1;
    FILE *file = fopen(getenv("STEP_GATE"), "r");
    if (file == NULL) return -1;
    if (fscanf(file, "%d", &number) != 1) number = -1;
    fclose(file);
    return number;
}

int ggml_backend_sched_graph_compute_async(void *scheduler, void *graph) {
    static int n_steps;
    int number;
    while ((number = steps_let_through()) >= 0 && n_steps >= number) usleep(5000);
    n_steps = number < 0 ? 0 : n_steps + 1;
    void *library = dlopen(GGML, RTLD_LAZY | RTLD_NOLOAD);
    return ((compute)dlsym(library, "ggml_backend_sched_graph_compute_async"))(scheduler, graph);
}
"""
_GGML = Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so.0"
_N_LET_THROUGH = 8
"""Steps that bring the first tokens, and no more than some hundreds where most are guessed."""


@dataclasses.dataclass(frozen=True, slots=True)
class StepGate:
    """The gate of all the runners of one server, whose environment names it; open until a test closes it."""

    library: Path
    file: Path

    @property
    def environ(self) -> dict[str, str]:
        """What to give the server."""
        return {"LD_PRELOAD": str(self.library), "STEP_GATE": str(self.file)}

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """From now on let few steps of each runner through; open at the end of the block, if nobody has before."""
        new = self.file.with_suffix(".new")
        new.write_text(str(_N_LET_THROUGH), encoding="ascii")
        new.rename(self.file)
        try:
            yield
        finally:
            self.open()

    def open(self) -> None:
        """Let all go on."""
        self.file.unlink(missing_ok=True)


def build_step_gate(folder: Path) -> Path:
    """Compile the library into a folder."""
    library = folder / "step_gate.so"
    compiler = next(path for name in ("cc", "gcc", "clang") if (path := shutil.which(name)))
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", f'-DGGML="{_GGML}"', "-o", str(library), "-ldl"]
    subprocess.run(command, input=_SOURCE, text=True, check=True)
    return library
