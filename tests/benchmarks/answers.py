"""Recorded answers, read: when each token came, and how many there were."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.load import Recording
from tests.benchmarks.requests import Api

_OK = 200
_LONGEST_COMPLAINT = 300


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One streamed answer; times are CLOCK_MONOTONIC in seconds."""

    started_at: float
    token_times: tuple[float, ...]
    """Arrival of each event that carried text; tokens which came in one event count once."""
    n_tokens: int
    """Generated tokens as the server counted them."""
    n_prompt_tokens: int

    @property
    def first_token_s(self) -> float:
        """Time from before the connection was made to the first text."""
        return self.token_times[0] - self.started_at

    @property
    def gaps_s(self) -> list[float]:
        """Times between events with text."""
        return [later - earlier for earlier, later in itertools.pairwise(self.token_times)]

    @property
    def decode_tokens_per_s(self) -> float:
        """Rate after the first token."""
        return (self.n_tokens - 1) / max(1e-9, self.token_times[-1] - self.token_times[0])


def status_of(recording: Recording) -> int:
    """Give the HTTP status of an answer; 0 when there is none."""
    line = b"".join(piece for _, piece in recording.pieces).partition(b"\r\n")[0].split()
    return int(line[1]) if len(line) > 1 and line[1].isdigit() else 0


def read_answer(recording: Recording, api: Api) -> Answer:
    """Read one answer.

    Raises:
        NotMeasured: it is an error, it was cut short, or it holds no text.
    """
    if status_of(recording) != _OK:
        raise NotMeasured(f"an answer failed: {_complaint(recording)}")
    times: list[float] = []
    n_tokens = n_prompt_tokens = 0
    for time, event in _events(recording):
        if "error" in event:
            raise NotMeasured(f"an answer ended in an error: {event['error']}")
        text, counts = _text_and_counts(event, api)
        if text:
            times.append(time)
        if counts:
            n_tokens, n_prompt_tokens = counts
    if not times or not n_tokens:
        raise NotMeasured(f"an answer holds no text or no counts: {_complaint(recording)}")
    return Answer(recording.started_at, tuple(times), n_tokens, n_prompt_tokens)


def n_texts(recording: Recording, api: Api) -> int:
    """Count the events with text of an answer, also of one that was cut short."""
    return sum(bool(_text_and_counts(event, api)[0]) for _, event in _events(recording))


def _text_and_counts(event: dict[str, Any], api: Api) -> tuple[str, tuple[int, int] | None]:
    if api is Api.NATIVE:
        text = (event.get("message") or {}).get("content") or ""
        counts = (event["eval_count"], event.get("prompt_eval_count", 0)) if event.get("done") else None
        return text, counts
    usage = event.get("usage")
    choices = event.get("choices") or [{}]
    text = (choices[0].get("delta") or {}).get("content") or ""
    return text, (usage["completion_tokens"], usage["prompt_tokens"]) if usage else None


def _events(recording: Recording) -> Iterator[tuple[float, dict[str, Any]]]:
    """Give the JSON objects of an NDJSON or event stream, each with the arrival time of its last byte."""
    rest = b""
    for time, content in _contents(recording):
        *lines, rest = (rest + content).split(b"\n")
        for line in lines:
            text = line.removeprefix(b"data: ").strip()
            if text and text != b"[DONE]":
                yield time, json.loads(text)


def _contents(recording: Recording) -> Iterator[tuple[float, bytes]]:
    """Take the chunks out of a chunked body (RFC 9112, section 7.1)."""
    buffer, in_body = b"", False
    for time, piece in recording.pieces:
        buffer += piece
        if not in_body:
            head, in_body, buffer = _split_head(buffer)
            if in_body and b"chunked" not in head.lower():
                raise NotMeasured("an answer was not streamed in chunks")
        while in_body:
            size_line, found, rest = buffer.partition(b"\r\n")
            size = int(size_line, 16) if found else 0
            if not found or len(rest) < size + 2:
                break
            yield time, rest[:size]
            buffer = rest[size + 2 :]


def _split_head(buffer: bytes) -> tuple[bytes, bool, bytes]:
    head, found, rest = buffer.partition(b"\r\n\r\n")
    return (head, True, rest) if found else (b"", False, buffer)


def _complaint(recording: Recording) -> str:
    return b"".join(piece for _, piece in recording.pieces)[-_LONGEST_COMPLAINT:].decode(errors="replace")
