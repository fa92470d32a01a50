"""One line of a progress stream, as creating, pulling and pushing report it."""

import msgspec


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is being done and, where it can be counted, how many bytes of how many are done."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
