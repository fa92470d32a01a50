"""Quantizing a model by llama.cpp, in a process of its own: which types there are, and the order for one."""

import os
from collections.abc import Generator

import msgspec

from actors.errors import InvalidRequest
from registry import estimate
from registry.blobs import Blobs
from registry.gguf import GgufFile, read_gguf
from registry.progress import Progress
from registry.workshop.child import Report, reports

MODULE = "runners.llama.quantize"
"""Run, not imported: it is another package's."""

# Source: `enum llama_ftype` of llama.h; those that quantize without an importance matrix.
FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "BF16": 32,
    "Q8_0": 7,
    "Q6_K": 18,
    "Q5_K_M": 17,
    "Q5_K_S": 16,
    "Q5_1": 9,
    "Q5_0": 8,
    "Q4_K_M": 15,
    "Q4_K_S": 14,
    "Q4_1": 3,
    "Q4_0": 2,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
    "Q3_K_L": 13,
    "Q3_K_M": 12,
    "Q3_K_S": 11,
    "IQ3_M": 27,
    "IQ3_S": 26,
    "Q2_K": 10,
    "TQ2_0": 37,
    "TQ1_0": 36,
    "MXFP4_MOE": 38,
    "Q2_0": 41,
    "Q1_0": 40,
}
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}
_NEEDING_A_MATRIX = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
_UNQUANTIZED = {"F32", "F16", "BF16"}


class QuantizeOrder(msgspec.Struct, frozen=True):
    """What the process is told; `file_type` is llama.cpp's number."""

    source: str
    target: str
    file_type: int
    n_threads: int


def file_type_named(text: str) -> str:
    """Give a type's name in llama.cpp's spelling, from any case and from the short forms in use.

    Raises:
        InvalidRequest: there is none, or it needs an importance matrix.
    """
    name = _ALIASES.get(text.upper(), text.upper())
    if name in _NEEDING_A_MATRIX:
        raise InvalidRequest(
            f"quantization type {name} needs an importance matrix: quantize with llama-quantize, or choose another"
        )
    if name not in FILE_TYPES:
        raise InvalidRequest(f"unsupported quantization type {name} - supported types are {', '.join(FILE_TYPES)}")
    return name


def is_quantized(gguf: GgufFile) -> bool:
    """Tell whether a model has weights of another type than 16 or 32 bits."""
    return not {tensor.type_name for tensor in gguf.tensors} <= _UNQUANTIZED


def quantized(blobs: Blobs, digest: str, file_type: str) -> Generator[Progress, None, str]:
    """Quantize a stored model, and store the result.

    Args:
        blobs: where the model is, and its result goes.
        digest: the model's.
        file_type: a name that `file_type_named` gave.

    Returns:
        The digest of the result; that of the model where it is of this type already.

    Raises:
        InvalidRequest: the model is quantized already.
        ConversionFailed: llama.cpp refused it.
    """
    gguf = read_gguf(blobs.path(digest))
    before = estimate.file_type_name(gguf)
    if file_type == before:
        return digest
    if is_quantized(gguf):
        raise InvalidRequest("quantization is only supported for F16, BF16 and F32 models")
    status = f"quantizing {before if before != 'unknown' else 'F32'} model to {file_type}"
    with blobs.scratch() as target:
        order = QuantizeOrder(str(blobs.path(digest)), str(target), FILE_TYPES[file_type], os.cpu_count() or 1)
        for report in reports(MODULE, order):
            yield Progress(
                status=status, digest=digest, total=gguf.size_bytes, completed=_share(report, gguf.size_bytes)
            )
        yield Progress(status=status, digest=digest, total=gguf.size_bytes, completed=gguf.size_bytes)
        yield Progress(status="verifying conversion")
        read_gguf(target)
        return blobs.adopt(target)


def _share(report: Report, size_bytes: int) -> int:
    """Give the part of the file that is done; the process counts tensors."""
    return size_bytes * (report.completed - 1) // report.total if report.total else 0
