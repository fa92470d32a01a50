"""An engine on the test's own thread, with everything that it said."""

from pathlib import Path

from actors.codec import Codec
from actors.messages.job import SamplingOptions
from actors.messages.model import JobRef, LoadPlan
from actors.messages.runner_to_gateway import Delta, Finished, Part, Step
from actors.messages.runner_to_scheduler import Outcome
from runners.draft_model import DraftModel
from runners.engine import Engine
from runners.jobs import PreparedJob
from runners.llama.model import Model
from runners.outbox import Outbox
from runners.speculate import StepCosts
from runners.tier import Tier

GREEDY = SamplingOptions(temperature=0)


def greedy_job(name: str, prompt: list[int], *, n_tokens: int, stop: tuple[str, ...] = ()) -> PreparedJob:
    """Prepare a greedy answer to a prompt of tokens."""
    return PreparedJob(
        ref=JobRef(name, 1, "gw"),
        prompt=prompt,
        sampling=GREEDY,
        max_new_tokens=n_tokens,
        stop=stop,
        return_context=False,
    )


class Bench:
    """An engine on the test's own thread, and everything that it said."""

    def __init__(
        self,
        path: Path,
        plan: LoadPlan,
        *,
        costs: StepCosts | None = None,
        draft: Path | None = None,
        tier: Tier | None = None,
    ) -> None:
        self.model = Model(str(path), plan)
        self.parts: list[Part] = []
        self.outcomes: dict[str, Outcome] = {}
        self._codec: Codec[Step] = Codec(Step)
        self.outbox = Outbox(self._send)
        draft_model = DraftModel(str(draft), self.model, plan) if draft else None
        self.engine = Engine(
            self.model, plan, self.outbox, self._on_end, costs=costs, draft_model=draft_model, tier=tier
        )

    def job(self, name: str, text: str, *, n_tokens: int, stop: tuple[str, ...] = ()) -> PreparedJob:
        """Prepare a chat turn."""
        chat = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        return greedy_job(name, self.model.tokenize(chat, add_special=True), n_tokens=n_tokens, stop=stop)

    def run(self) -> int:
        """Step until nothing is left to do; return the number of steps."""
        n_steps = 0
        while self.engine.step() or self._awaits_disk():
            n_steps += 1
            assert self.outbox.flush()
        assert self.outbox.flush()
        return n_steps

    def tokens(self, name: str) -> list[int]:
        """Give all token ids of a job."""
        return [
            t for part in self.parts if part.job_id == name and isinstance(part, Delta | Finished) for t in part.tokens
        ]

    def text(self, name: str) -> str:
        """Give the whole text of a job."""
        return "".join(p.text for p in self.parts if p.job_id == name and isinstance(p, Delta | Finished))

    def finished(self, name: str) -> Finished:
        """Give the end of a job."""
        (end,) = [part for part in self.parts if part.job_id == name and isinstance(part, Finished)]
        return end

    def close(self) -> None:
        """Free everything."""
        self.engine.close()
        self.model.close()

    def _awaits_disk(self) -> bool:
        return any(slot.reading is not None for slot in self.engine._slots)

    def _send(self, _gateway_id: str, frame: bytes) -> bool:
        self.parts += self._codec.decode(frame).parts
        return True

    def _on_end(self, ref: JobRef, outcome: Outcome) -> None:
        assert ref.job_id not in self.outcomes, "a job ended twice"
        self.outcomes[ref.job_id] = outcome
