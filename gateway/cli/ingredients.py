"""What a Modelfile asks for: the request to the server, and the local files that must be there first.

Paths are resolved here, where the files are: absolute ones as they stand, `~` expanded, others from the Modelfile's
folder. A FROM that is no local path is a model name. Source of the rules: Ollama's client, whose Modelfiles must work.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actors.errors import InvalidRequest
from gateway.cli.client import Json
from gateway.cli.failures import CommandFailed
from registry.modelfile import Modelfile, decode_modelfile, parse_modelfile
from registry.reference import shards_of

_NOTHING_FOUND = "no Modelfile or safetensors files found"
_WEIGHTS = ("model*.safetensors", "consolidated*.safetensors", "adapter*.safetensors")
_PICKLED = ("pytorch_model*.bin", "consolidated*.pth", "adapter_model.bin")
_READY = ("*.gguf", "*.bin")
_BESIDE_WEIGHTS = ("*.json", "*/*.json", "chat_template.jinja", "tokenizer.model")
"""What describes weights that must be converted: configurations, here and one level below, and the tokenizer."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """One model to create: the request without its file digests, and the files under the names they are sent by."""

    request: Json
    files: dict[str, Path] = field(default_factory=dict)
    adapters: dict[str, Path] = field(default_factory=dict)
    drafts: dict[str, Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_modelfile(path: Path) -> Modelfile:
    """Read a Modelfile; where there is none, it is as if it said `FROM .`.

    Raises:
        InvalidModelfile: it breaks the grammar.
        OSError: it is there and cannot be read.
    """
    if not path.exists():
        return Modelfile(sources=(".",))
    return parse_modelfile(decode_modelfile(path.read_bytes()))


def ingredients(modelfile: Modelfile, *, folder: Path) -> Ingredients:
    """Resolve a Modelfile that lies in `folder`.

    Raises:
        CommandFailed: a file is missing, lies outside its folder, or cannot be read safely.
    """
    name, paths = "", list[Path]()
    for source in modelfile.sources:
        path = _local_path(source, folder)
        if path is None:
            name = source
        else:
            paths += _model_files(path)
    adapters = [path for source in modelfile.adapters for path in _model_files(_required_path(source, folder))]
    drafts = [path for source in modelfile.drafts for path in _model_files(_required_path(source, folder))]
    if set(drafts) & set(paths):
        raise CommandFailed("DRAFT must be another file than FROM")
    fields = {
        "from": name,
        "template": modelfile.template,
        "system": modelfile.system,
        "renderer": modelfile.renderer,
        "parser": modelfile.parser,
        "requires": modelfile.requires,
        "license": list(modelfile.licenses),
        "parameters": modelfile.parameters,
        "messages": [{"role": role, "content": content} for role, content in modelfile.messages],
    }
    return Ingredients(
        request={key: value for key, value in fields.items() if value},
        files=_named(paths),
        adapters=_named(adapters),
        drafts=_named(drafts),
        warnings=modelfile.warnings,
    )


def _local_path(source: str, folder: Path) -> Path | None:
    path = folder / Path(source).expanduser()
    if path.exists():
        return path
    looks_like_path = source.startswith(("/", "./", "../", "~")) or source.lower().endswith((".gguf", ".bin"))
    if looks_like_path:
        raise CommandFailed(f"open {path}: no such file or directory")
    return None


def _required_path(source: str, folder: Path) -> Path:
    path = _local_path(source, folder)
    if path is None:
        raise CommandFailed(f"open {folder / source}: no such file or directory")
    return path


def _model_files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return _with_shards(path)
    for pattern in _WEIGHTS:
        if weights := [*_matching(path, pattern), *_matching(path, f"*/{pattern}")]:
            return [*weights, *(found for beside in _BESIDE_WEIGHTS for found in _matching(path, beside))]
    if any(_matching(path, pattern) for pattern in _PICKLED):
        raise CommandFailed("pickled PyTorch weights can run any code and are not read: convert them to safetensors")
    return next((found for pattern in _READY if (found := _matching(path, pattern))), None) or _nothing()


def _with_shards(path: Path) -> Sequence[Path]:
    """Add the other files of a split model to its first; one that is missing is named."""
    try:
        shards = [Path(shard) for shard in shards_of(str(path))]
    except InvalidRequest:  # a shard that is named with all others
        return [path]
    for shard in shards:
        if not shard.exists():
            raise CommandFailed(f"open {shard}: no such file or directory")
    return shards


def _matching(folder: Path, pattern: str) -> list[Path]:
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    for path in found:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise CommandFailed(f"insecure path: {path}")
    return found


def _nothing() -> Sequence[Path]:
    raise CommandFailed(_NOTHING_FOUND)


def _named(paths: Iterable[Path]) -> dict[str, Path]:
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - resolve() would follow links
    if not absolute:
        return {}
    common = os.path.commonpath([path.parent for path in absolute])
    return {str(path.relative_to(common)): path for path in absolute}
