"""Headers of a request: found as Werkzeug finds them, whatever was sent."""

from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from gateway.request_headers import RequestHeaders

ADDRESS = "10.0.0.7"
_names = st.sampled_from(["host", "Host", "content-length", "X-Api-Key", "x-api-key", "Remote-Addr", "origin"])
_values = st.sampled_from(["", "a", "7", "b, c", "\u00e9"])


@given(st.lists(st.tuples(_names, _values)), _names)
def test_headers_are_found_as_werkzeug_finds_them(sent: list[tuple[str, str]], name: str) -> None:
    """The first of one name counts, in any case, and nobody takes another's address."""
    theirs = Headers([("Remote-Addr", ADDRESS), *sent])
    ours = RequestHeaders([(key.encode(), value.encode("latin1")) for key, value in sent], remote_addr=ADDRESS)
    assert ours.get(name) == theirs.get(name)
    assert ours.get(name, "none") == theirs.get(name, "none")
    assert ours.get(name, type=int) == theirs.get(name, type=int)
    assert (name in ours) == (name in theirs)
    assert ours.getlist(name) == theirs.getlist(name)
    assert ours["remote-addr"] == ADDRESS
    assert [(key.lower(), value) for key, value in ours] == [(key.lower(), value) for key, value in theirs]
