"""Arithmetic on finished vectors: 32-bit floats in machine order, which is little-endian wherever llama.cpp runs."""

import numpy as np

from actors.errors import InvalidRequest

_SMALLEST_NORM = 1e-12
"""Floor of a norm, so that a vector of zeros stays one."""


def normalised(values: bytes, *, dimensions: int = 0) -> bytes:
    """Cut a vector to its first `dimensions` numbers (0, or more than there are: all) and scale it to length 1.

    Raises:
        InvalidRequest: a number is not finite.
    """
    vector = np.frombuffer(values, dtype=np.float32).astype(np.float64)
    norm = float(np.sqrt(np.dot(vector, vector)))
    _check_finite(norm)
    if 0 < dimensions < len(vector):
        vector = vector[:dimensions]
        norm = float(np.sqrt(np.dot(vector, vector)))
    return (vector / max(norm, _SMALLEST_NORM)).astype(np.float32).tobytes()


def finite(values: bytes) -> bytes:
    """Give the values back.

    Raises:
        InvalidRequest: one is not finite.
    """
    _check_finite(float(np.frombuffer(values, dtype=np.float32).sum(dtype=np.float64)))
    return values


def _check_finite(number: float) -> None:
    if not np.isfinite(number):
        raise InvalidRequest("embedding contains NaN or Inf values")
