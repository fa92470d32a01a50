"""What answers look like on the wire."""

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages.runner_to_gateway import TokenLogprob
from gateway.answer import AnswerEnd, AnswerPart
from gateway.parse.events import CallArguments, CallClosed, CallOpened, Text, Thought
from gateway.wire.json_text import local_text, to_json, utc_text
from gateway.wire.native import ChatWriter, GenerateWriter, Line, Metrics, Truncated
from gateway.wire.openai import DONE, NO_USAGE, CompletionWriter, usage_of
from gateway.wire.openai_chat import ChatCompletionWriter

TIME = re.compile(rb'"created_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"')


def _said(text: str) -> AnswerPart:
    return AnswerPart((Text(text),))


def _timeless(line: bytes) -> bytes:
    assert TIME.search(line)
    return TIME.sub(b'"created_at":"T"', line)


@settings(max_examples=100, deadline=None)
@given(text=st.text(), model=st.text(max_size=10))
def test_delta_lines_are_json_of_the_text(text: str, model: str) -> None:
    """The fast path writes what a JSON encoder would write, HTML-escaped."""
    line = ChatWriter(model).delta(_said(text))
    value = json.loads(line)
    assert value["message"] == {"role": "assistant", "content": text}
    assert value["model"] == model
    assert not {b"<", b">", b"&"} & {bytes([byte]) for byte in line}
    assert json.loads(GenerateWriter(model).delta(_said(text)))["response"] == text


def test_generate_lines_have_the_recorded_order() -> None:
    """Fields come in the order in which clients have recorded them."""
    writer = GenerateWriter("m")
    assert _timeless(writer.delta(AnswerPart((Thought("c"), Text("a<b"))))) == (
        b'{"model":"m","created_at":"T","response":"a\\u003cb","thinking":"c","done":false}\n'
    )
    line = Line(done_reason="stop", metrics=Metrics(total_duration=1, eval_count=2), context=(3, 4))
    assert _timeless(writer.end(line)) == (
        b'{"model":"m","created_at":"T","response":"","done":true,"done_reason":"stop","context":[3,4],'
        b'"total_duration":1,"eval_count":2}'
    )


def test_chat_lines_have_the_recorded_order() -> None:
    """Content is always there, thinking only when there is some, zero figures are left out."""
    writer = ChatWriter("m")
    assert _timeless(writer.delta(_said("a"))) == (
        b'{"model":"m","created_at":"T","message":{"role":"assistant","content":"a"},"done":false}\n'
    )
    assert _timeless(writer.end(Line(done_reason="load"))) == (
        b'{"model":"m","created_at":"T","message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}'
    )


def _frames(data: bytes) -> list[dict[str, Any]]:
    events = [event.removeprefix(b"data: ") for event in data.removesuffix(DONE).split(b"\n\n") if event]
    return [json.loads(event) for event in events]


def test_chat_completion_frames_name_the_role_once() -> None:
    """The first frame says who answers; thinking and text come in frames of their own."""
    writer = ChatCompletionWriter("m")
    first, second = _frames(writer.delta(AnswerPart((Thought("a"), Text("b")))))
    assert list(first) == ["id", "object", "created", "model", "system_fingerprint", "choices"]
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": "", "reasoning": "a"}, "finish_reason": None}
    ]
    assert second["choices"] == [{"index": 0, "delta": {"content": "b"}, "finish_reason": None}]


def test_chat_completion_end_tells_the_usage_iff_asked() -> None:
    """The reason has a frame of its own, the usage another, then `[DONE]`."""
    writer = ChatCompletionWriter("m")
    writer.delta(_said("a"))
    ended = writer.end(AnswerPart(end=AnswerEnd("length"))) + writer.done(usage_of(10, 8))
    assert ended.endswith(DONE)
    reason, usage = _frames(ended)
    assert reason["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert (usage["choices"], usage["usage"]) == (
        [],
        {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18},
    )
    assert writer.done(None) == DONE


def test_chat_completion_without_text_still_says_who_answers() -> None:
    """A stream of an empty answer has its role."""
    frames = _frames(ChatCompletionWriter("m").end(AnswerPart(end=AnswerEnd("stop"))))
    assert frames[0]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]


def test_last_lines_tell_what_had_no_effect_and_what_was_cut() -> None:
    """Warnings and cuts are at the end of a native answer and with the reason of an OpenAI one, if there are any."""
    line = Line(done_reason="length", warnings=("careful",), truncated=Truncated(messages=2, tokens=3))
    told = json.loads(ChatWriter("m").end(line))
    assert (told["warnings"], told["truncated"]) == (["careful"], {"messages": 2, "tokens": 3})
    assert "warnings" not in json.loads(ChatWriter("m").end(Line(done_reason="stop")))
    end = AnswerEnd("length", warnings=("careful",), truncated_tokens=3)
    writer = ChatCompletionWriter("m")
    choices = [_frames(writer.end(AnswerPart(end=end)))[-1]["choices"][0]]
    choices += json.loads(writer.whole([AnswerPart(end=end)], usage_of(1, 1)))["choices"]
    for choice in choices:
        assert (choice["warnings"], choice["truncated"]) == (["careful"], {"messages": 0, "tokens": 3})


def test_chat_lines_tell_calls_logprobs_and_what_could_not_be_read() -> None:
    """Calls have their arguments as an object, and their position in the whole answer."""
    writer = ChatWriter("m")
    logprobs = (TokenLogprob(b"a", -0.5, ((b"a", -0.5), (b"\xff", -1.0))),)
    part = AnswerPart((Text("<x", unparsed=True), CallClosed(3, "f", '{"n":1e999}', "call_1")), None, logprobs)
    line = writer.delta(part)
    assert (
        b'"tool_calls":[{"id":"call_1","function":{"index":0,"name":"f","arguments":{"n":1e999}}}],"unparsed":true'
        in line
    )
    told = json.loads(line)["logprobs"]
    assert told[0] | {"top_logprobs": []} == {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    assert told[0]["top_logprobs"][1] == {"token": "\ufffd", "logprob": -1.0, "bytes": [255]}
    assert b'"index":1' in writer.end(Line(done_reason="stop"), AnswerPart((CallClosed(9, "g", "{}"),)))


def test_chat_completion_streams_arguments() -> None:
    """A call is opened with id and name; its arguments follow in pieces under the same index."""
    writer = ChatCompletionWriter("m")
    opened = _frames(writer.delta(AnswerPart((CallOpened(0, "f", "call_1"), CallArguments(0, '{"a')))))
    more = _frames(writer.delta(AnswerPart((CallArguments(0, '":1}'), CallClosed(0, "f", '{"a":1}', "call_1")))))
    assert _call_of(opened) == [
        {"id": "call_1", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a'}}
    ]
    assert _call_of(more) == [{"index": 0, "function": {"arguments": '":1}'}}]
    assert _frames(writer.end(AnswerPart(end=AnswerEnd("stop"))))[-1]["choices"] == [
        {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    ]


def _call_of(frames: list[dict[str, Any]]) -> Any:
    assert len(frames) == 1
    return frames[0]["choices"][0]["delta"]["tool_calls"]


def test_completion_frames_carry_a_zeroed_usage_when_it_was_asked_for() -> None:
    """With `include_usage` every frame has a `usage`, the true one comes last."""
    writer = CompletionWriter("m", tells_usage=True)
    (delta,) = _frames(writer.delta("a"))
    assert list(delta) == ["id", "object", "created", "choices", "model", "system_fingerprint", "usage"]
    assert delta["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    last, usage = _frames(writer.end("stop", usage_of(1, 2)))
    assert last["choices"] == [{"text": "", "index": 0, "finish_reason": "stop"}]
    assert usage["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_whole_openai_answers_end_with_a_newline() -> None:
    """Whole answers of the OpenAI family end with a newline, in the recorded order."""
    whole = CompletionWriter("m", tells_usage=False).whole("a", "stop", NO_USAGE)
    assert whole.endswith(b"}\n")
    assert list(json.loads(whole)) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]


def test_times_are_cut_like_go_cuts_them() -> None:
    """Trailing zeros of the fraction are left out, and the point with them."""
    assert utc_text(0) == "1970-01-01T00:00:00Z"
    assert utc_text(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert utc_text(1_000_000_001) == "1970-01-01T00:00:01.000000001Z"
    assert re.fullmatch(
        r"1970-01-0[12]T\d\d:\d\d:01\.5(Z|[+-]\d\d:\d\d)", local_text(86_401_500_000_000 - 43_200 * 10**9)
    )


def test_to_json_escapes_line_separators() -> None:
    """U+2028 and U+2029 are escaped, as Go does."""
    assert to_json("\u2028\u2029") == b'"\\u2028\\u2029"'
