"""Long prompts: chats that go on, a prefix that many share, a chat after an unload, and a stream beside a prefill.

Ollama 0.33 over the same llama.cpp was measured at 1.1 to 1.3 times llama-server for the first, 2.0 times one client's
alone for the second (llama-server: 4 to 5), and at no gain for the third.
"""

import itertools
import random
from collections.abc import Sequence

from tests.benchmarks.answers import Answer, read_answer
from tests.benchmarks.arena import Arena, Contender
from tests.benchmarks.effort import Effort
from tests.benchmarks.llamactor import MODEL
from tests.benchmarks.load import LoadOrder, drive
from tests.benchmarks.numbers import ms, percentile
from tests.benchmarks.progress import progress
from tests.benchmarks.requests import chat_request
from tests.benchmarks.results import Section, Table, at_least, at_most

NAME = "long-prompts"
_N_CLIENTS = 8
_WORDS = 600
_RETURN_WORDS = 1_337  # 1,400 tokens
_BESIDE_WORDS = 1_427  # 1,500 tokens
_MORE_TOKENS = 128
_STREAM_TOKENS = 300
_TIMEOUT_S = 180.0
_VOCABULARY = (
    *("river", "hill", "snow", "stone", "mill", "bridge", "town", "west", "summer", "child", "winter", "ice", "horse"),
    *("mayor", "harbour", "boat", "sand", "market", "square", "cheese", "apple", "voice", "farmer", "flour", "finger"),
    *("fire", "brewery", "flame", "fox", "church", "garden", "pear", "tree", "well", "teacher", "spring", "blossom"),
    *("queen", "name", "museum", "plate", "night", "lantern", "window", "band", "moon", "valley", "foot", "home"),
)
_RETURNS = 3
"""Samples per round of a chat that returns: a load's time varies more than the rest, and costs little."""
_numbers = random.Random(5)  # noqa: S311  # words, no secrets


def run(arena: Arena, effort: Effort) -> Section:
    """Measure all four, ours beside llama-server's default where it has the same."""
    chats: dict[str, list[float]] = {each.name: [] for each in (arena.ours, arena.default)}
    shared: list[tuple[float, float]] = []
    returned: list[tuple[float, float]] = []
    beside: list[tuple[float, float]] = []
    for number in range(effort.rounds):
        progress(f"{NAME}: round {number + 1} of {effort.rounds}")
        for contender in (arena.ours, arena.default):
            chats[contender.name].append(_chats_s(contender))
        shared.append(_shared_s(arena.ours))
        returned += [_returned_s(arena) for _ in range(_RETURNS)]
        beside.append(_gaps_s(arena.ours))
    speed = percentile(chats[arena.default.name], 0.5) / percentile(chats[arena.ours.name], 0.5)
    crowd = percentile([last / alone for alone, last in shared], 0.5)
    sooner = percentile([first / again for first, again in returned], 0.5)
    stall = percentile([busy / quiet for quiet, busy in beside], 0.5)
    rows = [
        ("eight chats of 600 own words, 128 tokens more, s", *(f"{percentile(t, 0.5):.2f}" for t in chats.values())),
        ("first token with a new prefix of 600 words alone, ms", ms(percentile([a for a, _ in shared], 0.5)), ""),
        ("the last of eight that share one, ms", ms(percentile([b for _, b in shared], 0.5)), ""),
        ("first token of a chat of 1,400 tokens, ms", ms(percentile([a for a, _ in returned], 0.5)), ""),
        ("the same after its model was unloaded, ms", ms(percentile([b for _, b in returned], 0.5)), ""),
        ("between tokens p99, quiet, ms", ms(percentile([a for a, _ in beside], 0.5)), ""),
        ("between tokens p99 beside a prompt of 1,500 tokens, ms", ms(percentile([b for _, b in beside], 0.5)), ""),
    ]
    figures: list[dict[str, str | float]] = [{"first_s": first, "again_s": again} for first, again in returned]
    figures += [
        {
            "chats_s": chats[arena.ours.name][number],
            "peers_chats_s": chats[arena.default.name][number],
            "alone_s": shared[number][0],
            "last_s": shared[number][1],
            "quiet_gap_s": beside[number][0],
            "busy_gap_s": beside[number][1],
        }
        for number in range(effort.rounds)
    ]
    return Section(
        name=NAME,
        title="Long prompts",
        notes=("medians of the rounds",),
        tables=(Table(header=("work", "llamactor", "llama-server"), rows=tuple(rows)),),
        gates=(
            at_least("eight chats already prefilled, wall clock", speed, 2.0, "times llama-server's speed"),
            at_most("the last of eight with a new shared prefix", crowd, 1.3, "times one client's alone"),
            at_least("a chat of 1,400 tokens after an unload, first token", sooner, 10.0, "times sooner"),
            at_most("between tokens p99 beside a prefill", stall, 3.0, "times the quiet one"),
        ),
        figures=tuple(figures),
    )


def _words(count: int) -> str:
    return " ".join(_numbers.choices(_VOCABULARY, k=count))


def _ask(contender: Contender, prompts: Sequence[Sequence[tuple[str, int]]]) -> list[Answer]:
    """Have each client ask its prompts one after the other; answers come in no order."""
    clients = tuple(
        tuple(
            chat_request(contender.api, port=contender.server.port, model=MODEL, prompt=prompt, n_tokens=n_tokens)
            for prompt, n_tokens in requests
        )
        for requests in prompts
    )
    record = drive(LoadOrder(contender.server.port, clients, _TIMEOUT_S))
    return [read_answer(recording, contender.api) for recording in record.recordings]


def _chats_s(contender: Contender) -> float:
    texts = [f"{_words(_WORDS)}. Tell a long story with these words." for _ in range(_N_CLIENTS)]
    _ask(contender, [[(text, 1)] for text in texts])
    answers = _ask(contender, [[(text, _MORE_TOKENS)] for text in texts])
    return max(answer.token_times[-1] for answer in answers) - min(answer.started_at for answer in answers)


def _shared_s(contender: Contender) -> tuple[float, float]:
    (alone,) = _ask(contender, [[(f"{_words(_WORDS)}. Tell a story.", 1)]])
    prefix = _words(_WORDS)
    answers = _ask(contender, [[(f"{prefix}. Tell story {number}.", 1)] for number in range(_N_CLIENTS)])
    return alone.first_token_s, max(answer.first_token_s for answer in answers)


def _returned_s(arena: Arena) -> tuple[float, float]:
    text = f"{_words(_RETURN_WORDS)}. Tell a story."
    (first,) = _ask(arena.ours, [[(text, 2)]])
    arena.llamactor.unload(MODEL)
    (again,) = _ask(arena.ours, [[(text, 2)]])
    return first.first_token_s, again.first_token_s


def _gaps_s(contender: Contender) -> tuple[float, float]:
    """Give p99 between tokens of one stream, alone and while a long prompt is evaluated beside it."""
    story = "Write a very long and detailed story about"
    (quiet,) = _ask(contender, [[(f"{story} {_words(5)}.", _STREAM_TOKENS)]])
    long = f"{_words(_BESIDE_WORDS)}. Tell a story."
    answers = _ask(contender, [[(f"{story} {_words(5)}.", _STREAM_TOKENS)], [(f"{_words(3)}?", 20), (long, 1)]])
    stream = max(answers, key=lambda answer: answer.n_tokens)
    prefill = max(answers, key=lambda answer: answer.n_prompt_tokens)
    window = [t for t in stream.token_times if prefill.started_at <= t <= prefill.token_times[0]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(window)]
    return percentile(quiet.gaps_s, 0.99), percentile(gaps, 0.99)
