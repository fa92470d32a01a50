"""Having the disk write while the rest of a file still comes, so that making it durable at the end takes no time.

`sync_file_range` with `SYNC_FILE_RANGE_WRITE` starts to write dirty pages and waits for nothing; they stay in the page
cache, where the hash and the first load find them. Where it is missing, the final `fsync` does all the work.
"""

import ctypes

_SYNC_FILE_RANGE_WRITE = 2

_function = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _function is not None:
    _function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def start_writing(fd: int, start: int, n_bytes: int) -> None:
    """Ask for a range of a file to be written to the disk soon; a refusal is without consequence."""
    if _function is not None:
        _function(fd, start, n_bytes, _SYNC_FILE_RANGE_WRITE)
