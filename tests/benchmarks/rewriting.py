"""Rewriting: an answer that is a given text with one word changed, as when a document is corrected.

All but a word stands in the prompt, so guessed tokens hold; llama-server's defaults guess nothing. The first words of
each prompt differ, so no cache helps.
"""

import itertools
from collections.abc import Iterator

from tests.benchmarks.answers import Answer, read_answer
from tests.benchmarks.arena import Arena, Contender
from tests.benchmarks.effort import Effort
from tests.benchmarks.llamactor import MODEL
from tests.benchmarks.load import LoadOrder, drive
from tests.benchmarks.numbers import percentile
from tests.benchmarks.progress import progress
from tests.benchmarks.requests import chat_request
from tests.benchmarks.results import Section, Table, at_least

NAME = "rewriting"
_SPEED = 1.5
_TIMEOUT_S = 120.0
_N_TOKENS = 380
_FIRST_NUMBER = 20_000
_TEXT = """\
The river begins in the high hills where the snow lies until June and the shepherds keep small stone huts. It runs past
three old mills and a narrow bridge and near the town it turns to the west. In summer the children swim there and in
winter the ice is thick enough to carry a horse. The mayor once planned a harbour but nobody wanted to pay for it so the
boats still lie on the sand. Every Friday the market fills the square with cheese and apples and the loud voices of
farmers. My grandmother bought her flour from a man who had lost two fingers in the great fire of the brewery. He told
everyone who asked that the flames had been blue and that he had seen a fox run out of them. Behind the church there is
a garden with nine pear trees and a well that has never been dry. The teacher brings her pupils to it in spring to draw
the blossom and to measure how deep the water stands. One year they found a silver coin with the head of a queen whose
name none of them had ever read. The coin is now in a museum far away and a small brass plate tells visitors where it
was found. On the last night of September lanterns hang from every window and the band plays until the moon is gone.
People from the next valley come on foot and go home at dawn with cakes wrapped in paper under their arms. When the
railway came the station was built a mile from the houses because the land there was cheap. So travellers still walk
along the river to reach the inn and many say that this walk is the best part of the journey.""".replace("\n", " ")


def run(arena: Arena, effort: Effort) -> Section:
    """Ask both servers in turn, with the same prompts."""
    contenders = (arena.ours, arena.default)
    rates: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in contenders}
    prompts = _prompts()
    for number in range(effort.rounds):
        progress(f"{NAME}: round {number + 1} of {effort.rounds}")
        for prompt in itertools.islice(prompts, effort.rewritings):
            for contender in contenders:
                answer = _ask(contender, prompt)
                rates[contender.name].append((_whole_rate(answer), answer.decode_tokens_per_s))
    whole = {name: percentile([rate for rate, _ in found], 0.5) for name, found in rates.items()}
    decode = {name: percentile([rate for _, rate in found], 0.5) for name, found in rates.items()}
    ratio = whole[arena.ours.name] / whole[arena.default.name]
    return Section(
        name=NAME,
        title="Rewriting 300 words with one changed",
        notes=("whole: tokens by the time from the request to the last one, prefill included; medians",),
        tables=(
            Table(
                header=("server", "whole tokens/s", "after the first token"),
                rows=tuple((name, f"{whole[name]:.1f}", f"{decode[name]:.1f}") for name in rates),
            ),
        ),
        gates=(at_least("rewriting, whole tokens/s", ratio, _SPEED, "times llama-server"),),
        figures=tuple(
            {"contender": name, "tokens_per_s": rate, "decode_tokens_per_s": decode_rate}
            for name, found in rates.items()
            for rate, decode_rate in found
        ),
    )


def _ask(contender: Contender, prompt: str) -> Answer:
    port = contender.server.port
    request = chat_request(contender.api, port=port, model=MODEL, prompt=prompt, n_tokens=_N_TOKENS)
    (recording,) = drive(LoadOrder(port, ((request,),), _TIMEOUT_S)).recordings
    return read_answer(recording, contender.api)


def _whole_rate(answer: Answer) -> float:
    return answer.n_tokens / (answer.token_times[-1] - answer.started_at)


def _prompts() -> Iterator[str]:
    for number in itertools.count(_FIRST_NUMBER):
        yield f'{number}: rewrite this text word for word, only change the word "river" to "stream":\n\n{_TEXT}'
