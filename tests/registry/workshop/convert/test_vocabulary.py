"""Tokenizer files: SentencePiece's own format, splitting rules by name, and garbage."""

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ConversionFailed
from registry.workshop.convert.folder import Folder
from registry.workshop.convert.sentencepiece import Piece, read_pieces
from registry.workshop.convert.vocabulary import read_vocabulary

_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _message(pieces: list[Piece]) -> bytes:
    content = b""
    for piece in pieces:
        inner = b"\x0a" + bytes([len(piece.text)]) + piece.text + b"\x15" + struct.pack("<f", piece.score)
        inner += b"\x18" + bytes([piece.type])
        content += b"\x0a" + bytes([len(inner)]) + inner
    return content + b"\x12\x03\x0a\x01x"  # another field, which is passed over


def test_read_pieces_gives_text_score_and_type(tmp_path: Path) -> None:
    """In the order of the ids; other fields are passed over."""
    pieces = [Piece(b"<unk>", 0.0, 2), Piece("▁the".encode(), -1.5, 1), Piece(b"<0x0A>", 0.0, 6)]
    (tmp_path / "tokenizer.model").write_bytes(_message(pieces))
    assert read_pieces(tmp_path / "tokenizer.model") == pieces


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_read_pieces_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Nothing but our own error comes out."""
    path = tmp_path_factory.getbasetemp() / "tokenizer.model"
    path.write_bytes(content)
    with contextlib.suppress(ConversionFailed):
        assert read_pieces(path)


def test_read_vocabulary_added_tokens_override_pieces(tmp_path: Path) -> None:
    """Special ones are control tokens; others have their blanks as they are."""
    pieces = [Piece(b"<unk>", 0.0, 2), Piece(b"a", -1.0, 1), Piece(b"b", -2.0, 1)]
    (tmp_path / "tokenizer.model").write_bytes(_message(pieces))
    decoder = {"1": {"content": "<s>", "special": True}, "3": {"content": "\u2581x", "special": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    with Folder({path.name: str(path) for path in tmp_path.iterdir()}) as folder:
        found = read_vocabulary(folder)
    assert (found.tokens, found.types) == ([b"<unk>", b"<s>", b"b", b" x"], [2, 3, 1, 4])
    assert found.scores == [0.0, -1000.0, -2.0, -1000.0]


def test_cut_to_leaves_out_added_tokens_without_rows_where_that_is_usual(tmp_path: Path) -> None:
    """Gemma 3's small models share a tokenizer with larger ones, whose image tokens they have no weights for."""
    pieces = [Piece(b"<unk>", 0.0, 2), Piece(b"a", -1.0, 1)]
    (tmp_path / "tokenizer.model").write_bytes(_message(pieces))
    decoder = {"2": {"content": "<image_soft_token>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    with Folder({path.name: str(path) for path in tmp_path.iterdir()}) as folder:
        found = read_vocabulary(folder)
    with pytest.raises(ConversionFailed, match="3 tokens, the weights have rows for 2"):
        found.cut_to(2)
    found.cut_to(2, drops_added=True)
    assert (found.tokens, found.types, found.scores) == ([b"<unk>", b"a"], [2, 1], [0.0, -1.0])
    with pytest.raises(ConversionFailed, match="2 tokens, the weights have rows for 1"):
        found.cut_to(1, drops_added=True)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ({"type": "ByteLevel"}, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]}, "smollm"),
        (
            {
                "type": "Sequence",
                "pretokenizers": [{"type": "Split", "pattern": {"Regex": _LLAMA_3}}, {"type": "ByteLevel"}],
            },
            "llama-bpe",
        ),
        (
            {
                "type": "Sequence",
                "pretokenizers": [{"type": "Split", "pattern": {"Regex": "odd"}}, {"type": "ByteLevel"}],
            },
            None,
        ),
        ({"type": "Metaspace"}, None),
        (None, None),
    ],
)
def test_read_vocabulary_names_the_splitting_rule_or_refuses(tmp_path: Path, rule: Any, name: str | None) -> None:
    """A rule that has no name would change what the model sees."""
    description = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 2}, "merges": []}, "pre_tokenizer": rule}
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    with Folder({"tokenizer.json": str(tmp_path / "tokenizer.json")}) as folder:
        if name is None:
            with pytest.raises(ConversionFailed):
                read_vocabulary(folder)
        else:
            found = read_vocabulary(folder)
            assert (found.pre, found.tokens) == (name, [b"a", b"[PAD1]", b"b"])


def test_folder_name_that_leads_out_is_refused() -> None:
    """Links are made in the folder only."""
    with pytest.raises(ConversionFailed, match="outside its folder"):
        Folder({"../x": "/etc/passwd"})
