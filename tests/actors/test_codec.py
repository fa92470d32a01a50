"""Every message round-trips, and no frame makes a decoder raise anything but our errors."""

import functools
from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.codec import MAX_HEADER_BYTES, PROTOCOL_VERSION, Codec, encode, encode_body
from actors.errors import InvalidRequest, MalformedMessage, ProtocolMismatch
from actors.messages import (
    gateway_to_runner,
    gateway_to_scheduler,
    job,
    launcher_to_runner,
    launcher_to_scheduler,
    runner_to_gateway,
    runner_to_scheduler,
    scheduler_to_gateway,
    scheduler_to_launcher,
    scheduler_to_runner,
)
from actors.messages.scheduler_to_gateway import Welcome

UNIONS: dict[str, Any] = {
    "gateway to runner": gateway_to_runner.FromSubscriber,
    "gateway to scheduler": gateway_to_scheduler.FromGateway,
    "launcher to runner": launcher_to_runner.Assignment,
    "launcher to renderer": launcher_to_runner.RendererAssignment,
    "launcher to scheduler": launcher_to_scheduler.FromLauncher,
    "runner to gateway": runner_to_gateway.ToSubscriber,
    "runner to scheduler": runner_to_scheduler.FromRunner,
    "scheduler to gateway": scheduler_to_gateway.ToGateway,
    "scheduler to launcher": scheduler_to_launcher.ToLauncher,
    "scheduler to runner": scheduler_to_runner.ToRunner,
}
MESSAGES = [
    pytest.param(union, message, id=f"{name}: {message.__name__}")
    for name, union in UNIONS.items()
    for message in (get_args(union) or (union,))
]
# What msgpack holds: 64-bit integers; floats that equal themselves.
SCALARS: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=20),
    dict[str, Any]: st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text(max_size=5), max_size=3),
}


@functools.cache
def values_of(message: type) -> st.SearchStrategy[Any]:
    """Give all values of a struct, its fields being what their annotations say."""
    hints = msgspec.structs.fields(message)
    return st.builds(message, **{field.name: _values(field.type) for field in hints})


def _values(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return values_of(kind)
    if kind in SCALARS:
        return SCALARS[kind]
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return _tuples(arguments)
    if get_origin(kind) is dict:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=3)
    if arguments:
        return st.one_of(*[_values(argument) for argument in arguments])
    return st.from_type(kind)


def _tuples(arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if arguments[-1] is Ellipsis:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    return st.tuples(*[_values(argument) for argument in arguments])


@pytest.mark.parametrize(("union", "message"), MESSAGES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_message_round_trips_in_its_direction(union: Any, message: type, data: st.DataObject) -> None:
    """What one side encodes, the other decodes to the same value."""
    value = data.draw(values_of(message))
    frame = encode(value)
    assert Codec[Any](union).decode(frame) == value
    assert frame[0] not in (0, 1), "an XPUB would take this frame for a subscription"


@given(values_of(job.JobBody))
@settings(max_examples=50, deadline=None)
def test_body_round_trips_without_version(body: job.JobBody) -> None:
    """A payload frame relies on its header's version."""
    assert Codec[job.JobBody](job.JobBody).decode_body(encode_body(body)) == body


@pytest.mark.parametrize("union", UNIONS.values(), ids=UNIONS)
@given(frame=st.binary(max_size=60))
@settings(max_examples=30)
def test_decode_of_any_bytes_raises_ours_alone(union: Any, frame: bytes) -> None:
    """Nothing a peer sends can end a process by an unexpected exception."""
    codec = Codec[Any](union)
    for candidate in (frame, encode(Welcome(epoch="e"))[:1] + frame):
        try:
            codec.decode(candidate)
        except (MalformedMessage, ProtocolMismatch):
            continue


@pytest.mark.parametrize(("union", "message"), MESSAGES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_decode_of_a_damaged_message_raises_ours_alone(union: Any, message: type, data: st.DataObject) -> None:
    """Nor does a message with a few wrong bytes, or one that was cut."""
    frame = bytearray(encode(data.draw(values_of(message))))
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        Codec[Any](union).decode(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    except (MalformedMessage, ProtocolMismatch):
        return


def test_decode_of_invalid_utf8_raises_malformed() -> None:
    """Text that is none is the peer's fault, although the decoder has an error of its own for it."""
    frame = encode(Welcome(epoch="abc")).replace(b"abc", b"a\xffc")
    with pytest.raises(MalformedMessage):
        Codec[Any](scheduler_to_gateway.ToGateway).decode(frame)


def test_decode_of_an_unknown_tag_raises_malformed() -> None:
    """A message of another direction is not skipped."""
    frame = encode(launcher_to_scheduler.LauncherDraining())
    with pytest.raises(MalformedMessage):
        Codec[Any](scheduler_to_gateway.ToGateway).decode(frame)


def test_decode_of_another_version_names_both() -> None:
    """Two releases that do not fit say so."""
    frame = encode(Welcome(epoch="e"))
    with pytest.raises(ProtocolMismatch) as caught:
        Codec[Any](scheduler_to_gateway.ToGateway).decode(bytes([frame[0] + 1]) + frame[1:])
    assert caught.value.fields == {"expected": PROTOCOL_VERSION, "got": PROTOCOL_VERSION + 1}


@pytest.mark.parametrize("frame", [b"", bytes(MAX_HEADER_BYTES + 1)], ids=["empty", "oversized"])
def test_decode_of_an_impossible_size_raises_malformed(frame: bytes) -> None:
    """The size is looked at first."""
    with pytest.raises(MalformedMessage, match="header frame of"):
        Codec[Any](scheduler_to_gateway.ToGateway).decode(frame)


def test_decode_of_deep_nesting_raises_malformed() -> None:
    """A bomb of arrays ends in an error, not in a crash of the interpreter."""
    head = encode_body(job.JobBody(prompt=job.RawPrompt(text="x")))
    codec = Codec[job.JobBody](job.JobBody)
    with pytest.raises(MalformedMessage):
        codec.decode_body(b"\x91" * 1_000_000)
    with pytest.raises(MalformedMessage):
        codec.decode_body(head[:-1] + b"\x91" * 1_000_000)


def nested(depth: int) -> dict[str, Any]:
    """Give a value of this depth."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


@pytest.mark.parametrize(
    "tool",
    [{"n": 10**30}, {"n": -(2**63) - 1}, {"text": "\ud800"}, nested(100_000)],
    ids=["big", "small", "half", "deep"],
)
def test_encode_of_what_json_allows_and_msgpack_does_not_raises_invalid_request(tool: dict[str, Any]) -> None:
    """A caller's number of thirty digits is the caller's error, not a crash of the gateway."""
    prompt = job.ChatPrompt(messages=(), tools=(tool,))
    with pytest.raises(InvalidRequest, match="out of range"):
        encode_body(job.JobBody(prompt=prompt))
