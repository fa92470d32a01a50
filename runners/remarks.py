"""What a caller should know of an answer that ended: a shifted context, a format that was not completed."""

import msgspec

from actors.messages.job import GrammarKind
from actors.messages.runner_to_gateway import DoneReason
from runners.constraint import Constraint, Phase
from runners.jobs import RunningJob
from runners.llama.model import Model


def remarks(job: RunningJob, reason: DoneReason, model: Model) -> tuple[str, ...]:
    """Give a sentence for everything that the text of a finished answer does not show by itself."""
    found = []
    if job.shifted_tokens:
        found.append(f"the context was full: {job.shifted_tokens} tokens were dropped from it to go on; raise num_ctx")
    constraint = job.prepared.constraint
    if constraint is not None and (flaw := _flaw(job, constraint, reason, model)):
        found.append(f"the answer does not match its format: {flaw}")
    return tuple(found)


def _flaw(job: RunningJob, constraint: Constraint, reason: DoneReason, model: Model) -> str:
    if not constraint.is_satisfied:
        if reason is DoneReason.LENGTH:
            return f"it was cut off after {len(job.generated)} tokens; raise num_predict or num_ctx"
        if job.stops.matched is not None:
            return "a stop string cut it off"
        return "it ended before its format began"
    if job.stops.matched is not None:  # the grammar saw the text of the stop string, the caller does not
        return "a stop string cut it off"
    if constraint.kind is GrammarKind.JSON_SCHEMA and constraint.phase is Phase.BOUND:
        text = b"".join(map(model.piece, job.generated[constraint.n_free_tokens :]))
        return _json_flaw(text[constraint.n_free_bytes :])
    return ""


def _json_flaw(text: bytes) -> str:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"it is no JSON ({error})"
    return ""
