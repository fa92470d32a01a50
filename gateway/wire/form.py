"""Forms (`multipart/form-data`) as routes read them: small text fields and one file, all in memory.

The body is bounded before it comes here. Source of the format: RFC 7578, through werkzeug.
"""

from dataclasses import dataclass, field

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from actors.errors import InvalidRequest

_MOST_PARTS = 64


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a form by name; of parts with one name the last counts."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def parse_form(content_type: str, raw: bytes) -> Form:
    """Read a form.

    Raises:
        InvalidRequest: it is none.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise InvalidRequest("failed to parse multipart form: request Content-Type isn't multipart/form-data")
    decoder = MultipartDecoder(boundary.encode("latin1", "replace"), max_parts=_MOST_PARTS)
    try:
        decoder.receive_data(raw)
        decoder.receive_data(None)
        return _collected(decoder)
    except (ValueError, RequestEntityTooLarge) as error:
        raise InvalidRequest(f"failed to parse multipart form: {error}") from error


def _collected(decoder: MultipartDecoder) -> Form:
    form = Form()
    part: Field | File | None = None
    content: list[bytes] = []
    while True:
        event = decoder.next_event()
        match event:
            case Field() | File():
                part, content = event, []
            case Data(data=data, more_data=more_data):
                content.append(data)
                if not more_data and isinstance(part, File):
                    form.files[part.name or ""] = b"".join(content)
                elif not more_data and part is not None:
                    form.fields[part.name or ""] = b"".join(content).decode(errors="replace")
            case Epilogue():
                return form
            case NeedData():
                raise InvalidRequest("failed to parse multipart form: unexpected EOF")
