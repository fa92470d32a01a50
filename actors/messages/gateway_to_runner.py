"""What a gateway sends upstream on its XSUB, beside subscriptions: cancels, which so need no scheduler."""

import msgspec


class CancelAtRunner(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The client of this job has left."""

    job_id: str


FromSubscriber = CancelAtRunner
