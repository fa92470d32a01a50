"""Every sampler, log probabilities, formats and shifts, in the engine with real models."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from actors.errors import InvalidGrammar
from actors.messages.job import Grammar, GrammarKind, SamplingOptions
from actors.messages.model import LoadPlan
from actors.messages.runner_to_gateway import Delta, DoneReason, Failed, Finished, TokenLogprob
from actors.messages.runner_to_scheduler import Outcome
from runners.grammar import GrammarCompiler
from runners.jobs import PreparedJob, Shift
from runners.llama.binding import start_backend
from runners.llama.candidates import log_probabilities
from runners.tokenizer import Tokenizer
from tests.support.engine_bench import GREEDY, Bench
from tests.support.oracle import GreedyAnswer, first_difference, greedy_answer

pytestmark = pytest.mark.model

NUM_CTX = 256
PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
SAMPLERS = {
    "plain": SamplingOptions(seed=1),
    "dynatemp": SamplingOptions(seed=1, dynatemp_range=0.5, dynatemp_exponent=1.5),
    "top_n_sigma": SamplingOptions(seed=1, temperature=1.5, top_n_sigma=1.0),
    "min_p": SamplingOptions(seed=1, temperature=1.5, min_p=0.2, top_k=0, top_p=1.0),
    "typical_p": SamplingOptions(seed=1, typical_p=0.5, min_keep=2),
    "xtc": SamplingOptions(seed=1, xtc_probability=1.0, xtc_threshold=0.05),
    "dry": SamplingOptions(seed=1, dry_multiplier=2.0, dry_penalty_last_n=-1),
    "mirostat 1": SamplingOptions(seed=1, mirostat=1),
    "mirostat 2": SamplingOptions(seed=1, mirostat=2, mirostat_tau=3.0),
    "penalties": SamplingOptions(seed=1, repeat_penalty=1.5, presence_penalty=0.5, repeat_last_n=-1),
    "other seed": SamplingOptions(seed=2),
}


class Rig(Bench):
    """An engine with a grammar compiler."""

    def __init__(self, path: Path, plan: LoadPlan) -> None:
        super().__init__(path, plan)
        self.tokenizer = Tokenizer(self.model)
        self._grammars = GrammarCompiler(self.tokenizer)

    def constrained(self, job: PreparedJob, grammar: Grammar, *, prompt_tail: str = "") -> PreparedJob:
        """Give a job a grammar."""
        compiled = self._grammars._find(grammar.kind, grammar.text)
        return dataclasses.replace(job, constraint=compiled.constraint(grammar, prompt_tail=prompt_tail))

    def answer(self, job: PreparedJob) -> Finished:
        """Run one job to its end."""
        assert self.engine.admit(job)
        self.run()
        return self.finished(job.ref.job_id)

    def logprobs(self, name: str) -> list[TokenLogprob]:
        """Give all log probabilities of a job."""
        parts = [part for part in self.parts if part.job_id == name and isinstance(part, Delta | Finished)]
        return [each for part in parts for each in part.logprobs]


@pytest.fixture(scope="module")
def smol(smollm2_gguf: Path) -> Iterator[Rig]:
    """An engine with two slots of SmolLM2."""
    start_backend()
    rig = Rig(smollm2_gguf, LoadPlan(num_ctx=NUM_CTX, n_slots=2, n_threads=2))
    yield rig
    rig.tokenizer.close()
    rig.close()


def test_grammar_refuses_a_token_and_stays_where_it_was(smol: Rig) -> None:
    """What was tried and does not fit leaves no trace: the same tokens may follow as before."""
    grammar = Grammar(kind=GrammarKind.REGEX, text="[0-9]a")
    constraint = smol.constrained(smol.job("digits", "Say a number.", n_tokens=4), grammar).constraint
    assert constraint is not None
    before = constraint.mask()
    assert not constraint.take(int(np.flatnonzero(~before)[0]))
    assert np.array_equal(constraint.mask(), before)
    assert constraint.take(int(np.flatnonzero(before)[0]))
    assert not np.array_equal(constraint.mask(), before)


def test_samplers_each_change_what_is_drawn_and_repeat_with_their_seed(smol: Rig) -> None:
    """Each sampler makes answers of its own; the same seed gives the same again."""
    texts = {}
    for name, options in SAMPLERS.items():
        runs = []
        for attempt in ("first", "again"):
            job = smol.job(f"{name} {attempt}", "Tell me a story.", n_tokens=24)
            smol.answer(dataclasses.replace(job, sampling=options))
            runs.append(smol.text(f"{name} {attempt}"))
        assert runs[0] == runs[1], name
        texts[name] = runs[0]
    assert len(set(texts.values())) >= len(SAMPLERS) - 1, texts


def test_logit_bias_bans_and_forces_tokens(smol: Rig) -> None:
    """A bias of minus infinity keeps a token out, a large one forces it; greedy, too."""
    free = smol.answer(smol.job("free", "Hi", n_tokens=4))
    first = smol.tokens("free")[0]
    banned = SamplingOptions(temperature=0, logit_bias=((first, float("-inf")),))
    smol.answer(dataclasses.replace(smol.job("banned", "Hi", n_tokens=4), sampling=banned))
    assert first not in smol.tokens("banned")
    forced = SamplingOptions(temperature=0, logit_bias=((first + 7, 1000.0),))
    smol.answer(dataclasses.replace(smol.job("forced", "Hi", n_tokens=3), sampling=forced))
    assert smol.tokens("forced") == [first + 7] * 3
    assert free.reason is DoneReason.LENGTH


def test_ignore_eos_goes_on_to_the_limit(smol: Rig) -> None:
    """An answer that would have ended goes on."""
    question = "Say only: yes"
    short = smol.answer(smol.job("short", question, n_tokens=100))
    options = SamplingOptions(temperature=0, ignore_eos=True)
    long = smol.answer(dataclasses.replace(smol.job("long", question, n_tokens=100), sampling=options))
    assert short.reason is DoneReason.STOP
    assert (long.reason, long.generated_tokens) == (DoneReason.LENGTH, 100)


def test_logprobs_are_the_models_own(smol: Rig) -> None:
    """Greedy tokens are their own likeliest; the entries are ordered, and cover the text that is shown."""
    job = dataclasses.replace(smol.job("told", "Hi", n_tokens=6), top_logprobs=3)
    smol.answer(job)
    entries = smol.logprobs("told")
    assert b"".join(each.piece for each in entries).decode() == smol.text("told")
    for each in entries:
        values = [logprob for _, logprob in each.top]
        assert each.top[0] == (each.piece, each.logprob)
        assert values == sorted(values, reverse=True)
        assert sum(np.exp(values)) <= 1.0
    untold = dataclasses.replace(smol.job("untold", "Hi", n_tokens=2), top_logprobs=0)
    smol.answer(untold)
    assert [each.top for each in smol.logprobs("untold")] == [(), ()]


def test_log_probabilities_are_a_softmax() -> None:
    """They add up to one whatever the logits are."""
    logits = np.array([1000.0, 999.0, -1000.0], dtype=np.float32)
    assert np.exp(log_probabilities(logits)).sum() == pytest.approx(1.0, abs=1e-5)


def test_logprobs_of_a_stop_string_are_not_told(smol: Rig) -> None:
    """What is cut from the text is cut from the entries."""
    smol.answer(smol.job("whole", "Hi", n_tokens=8))
    last = smol.text("whole").split()[-1]
    smol.answer(dataclasses.replace(smol.job("stopped", "Hi", n_tokens=8, stop=(last,)), top_logprobs=0))
    told = b"".join(each.piece for each in smol.logprobs("stopped")).decode()
    assert last not in told
    assert smol.text("stopped").startswith(told)


@pytest.mark.parametrize("options", [GREEDY, SamplingOptions(seed=3, temperature=1.5, repeat_penalty=1.3)])
def test_json_schema_gives_valid_json_and_ends_by_itself(smol: Rig, options: SamplingOptions) -> None:
    """The answer is what the schema says, and is over with its last brace, without a token for the end."""
    name = f"schema {options.temperature}"
    job = dataclasses.replace(smol.job(name, "Describe a person.", n_tokens=100), sampling=options)
    end = smol.answer(smol.constrained(job, Grammar(kind=GrammarKind.JSON_SCHEMA, text=PERSON)))
    person = json.loads(smol.text(name))
    assert set(person) == {"name", "age"}
    assert isinstance(person["age"], int)
    assert len(person["name"]) <= 8
    assert (end.reason, end.warnings) == (DoneReason.STOP, ())
    assert not smol.model.is_end(smol.tokens(name)[-1])


def test_grammars_of_each_kind_bind(smol: Rig) -> None:
    """Regular expressions, Lark and GBNF."""
    for kind, text, expected in (
        (GrammarKind.REGEX, "[0-9]{3}-[0-9]{4}", 8),
        (GrammarKind.LARK, 'start: "(" /[a-z]{3}/ ")"', 5),
        (GrammarKind.GBNF, 'root ::= "<" [0-9]{3} ">"', 5),
    ):
        smol.answer(smol.constrained(smol.job(kind, "Phone?", n_tokens=30), Grammar(kind=kind, text=text)))
        assert len(smol.text(kind)) == expected


def test_regex_that_explodes_is_refused(smol: Rig) -> None:
    """A short text whose automaton has no end is refused at the first look at the vocabulary."""
    with pytest.raises(InvalidGrammar, match="too many expressions"):
        smol.constrained(
            smol.job("boom", "Hi", n_tokens=5), Grammar(kind=GrammarKind.REGEX, text="(((.{0,99}){0,99}){0,99}){0,99}")
        )


def test_truncated_format_says_so(smol: Rig) -> None:
    """An answer that was cut off is not passed off as whole, whatever cut it."""
    grammar = Grammar(kind=GrammarKind.JSON_SCHEMA, text=PERSON)
    short = smol.answer(smol.constrained(smol.job("cut", "Describe a person.", n_tokens=3), grammar))
    assert short.reason is DoneReason.LENGTH
    assert short.warnings == (
        "the answer does not match its format: it was cut off after 3 tokens; raise num_predict or num_ctx",
    )
    stopped = smol.constrained(smol.job("stop", "Describe a person.", n_tokens=50, stop=('"age"',)), grammar)
    assert smol.answer(stopped).warnings == ("the answer does not match its format: a stop string cut it off",)


def test_grammar_waits_for_its_trigger(smol: Rig) -> None:
    """Free text, then the trigger, then what the grammar allows."""
    grammar = Grammar(kind=GrammarKind.REGEX, text="[0-9]{4}", triggers=("'m",))
    smol.answer(smol.constrained(smol.job("lazy", "Hi", n_tokens=30), grammar))
    assert smol.text("lazy").startswith("I'm")
    assert smol.text("lazy").removeprefix("I'm").isdecimal()


def test_grammar_of_a_resumed_answer_goes_on_where_it_was(smol: Rig) -> None:
    """The tokens of a dead runner are the grammar's past; ones that cannot be end the job with the reason."""
    grammar = Grammar(kind=GrammarKind.JSON_SCHEMA, text=PERSON)
    whole = smol.job("whole one", "Describe a person.", n_tokens=100)
    smol.answer(smol.constrained(whole, grammar))
    tokens = smol.tokens("whole one")
    half = dataclasses.replace(
        smol.job("half", "Describe a person.", n_tokens=100), prompt=[*whole.prompt, *tokens[:5]], n_resumed=5
    )
    smol.answer(smol.constrained(half, grammar))
    assert smol.tokens("half") == tokens[5:]
    bad = dataclasses.replace(
        smol.job("bad", "Describe a person.", n_tokens=100), prompt=[*whole.prompt, *tokens[1:6]], n_resumed=5
    )
    assert smol.engine.admit(smol.constrained(bad, grammar))
    smol.run()
    (failed,) = [part for part in smol.parts if part.job_id == "bad"]
    assert isinstance(failed, Failed)
    assert failed.failure.code == "invalid_grammar"
    assert smol.outcomes["bad"] is Outcome.FAILED


def test_shifted_answer_has_the_tokens_of_llama_cpps_server(smol: Rig, smollm2_gguf: Path) -> None:
    """The same tokens go at the same moment, beside another answer that does not shift."""
    keep = 4 + smol.model.add_bos
    beside = smol.job("beside", "Hi", n_tokens=60)
    job = smol.job("shifting", "Tell me about rivers.", n_tokens=100)
    assert smol.engine.admit(dataclasses.replace(beside, sampling=SamplingOptions(seed=1)))
    assert smol.engine.admit(dataclasses.replace(job, shift=Shift(num_ctx=64, n_keep=keep)))
    smol.run()
    answer = greedy_answer(smollm2_gguf, job.prompt, n_tokens=100, window=(64, keep))
    ours = smol.tokens("shifting")
    assert len(ours) > 64
    assert first_difference(GreedyAnswer(answer.tokens[: len(ours)], answer.margins), ours) is None


def test_shifted_answer_outgrows_its_context_and_its_slot_forgets_it(smol: Rig) -> None:
    """The answer goes on past the window, says so, and nothing computed in it is reused for another."""
    options = SamplingOptions(temperature=0, ignore_eos=True)
    job = dataclasses.replace(
        smol.job("long answer", "Count", n_tokens=150), sampling=options, shift=Shift(num_ctx=64, n_keep=4)
    )
    end = smol.answer(job)
    assert (end.reason, end.generated_tokens) == (DoneReason.LENGTH, 150)
    assert end.warnings[0].startswith("the context was full: ")
    slot = next(slot for slot in smol.engine._slots if slot.tokens[:4] == job.prompt[:4] and len(slot.tokens) == 4)
    assert slot.n_exact > NUM_CTX
