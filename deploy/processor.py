"""What this machine's processor says it can and cannot: some virtual machines announce AMX and trap on its use.

llama.cpp built for the native processor then dies at its first prompt. So the one feature that is known to be
announced falsely is tried in a program of four instructions before anything is built.
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

from deploy.folders import cache_folder

_WITHOUT_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
_LIMIT_S = 60
_ASK_KERNEL = """
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <immintrin.h>
int main(void) {
    unsigned char tiles[64] __attribute__((aligned(64)));
    if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */)) return 1;
    memset(tiles, 0, sizeof tiles);
    tiles[0] = 1;
    tiles[16] = 64;
    tiles[48] = 8;
    _tile_loadconfig(tiles);
    _tile_zero(0);
    _tile_release();
    return 0;
}
"""


def flags_against_false_features(cpuinfo: str, *, compiler: str | None) -> str:
    """Give the compiler flags that leave out what the processor only announces; empty when all is well.

    The answer for a processor is kept in the cache, so that only the first set-up compiles and tries.

    Args:
        cpuinfo: text of /proc/cpuinfo.
        compiler: path of a C compiler, None when there is none yet.
    """
    if " amx_tile" not in cpuinfo:
        return ""
    models = [line for line in cpuinfo.splitlines() if line.startswith(("model name", "microcode", "flags"))]
    processor = hashlib.sha256("\n".join(sorted(set(models))).encode()).hexdigest()[:16]
    known = cache_folder() / "processors" / processor
    if known.exists():
        return known.read_text()
    if compiler is None:
        return ""
    flags = "" if _amx_works(compiler) else _WITHOUT_AMX
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(flags)
    return flags


def _amx_works(compiler: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "amx.c", Path(folder) / "amx"
        source.write_text(_ASK_KERNEL)
        command = [compiler, "-O1", "-mamx-tile", "-o", str(program), str(source)]
        built = subprocess.run(command, capture_output=True, check=False, timeout=_LIMIT_S)
        # A compiler that knows no AMX cannot build llama.cpp's use of it either.
        return built.returncode != 0 or subprocess.run([program], check=False, timeout=_LIMIT_S).returncode == 0
