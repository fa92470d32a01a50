"""Tokenizers as GGUF files hold them: from SentencePiece's own file, or from `tokenizer.json`.

llama.cpp must split text as the original did before it merges, and knows these ways by name. The name is told from the
splitting rule in `tokenizer.json`; a rule without a name here is refused, because a model that sees other tokens than
it was trained on answers worse without anybody knowing why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gguf

from actors.errors import ConversionFailed
from registry.workshop.convert.folder import Folder
from registry.workshop.convert.sentencepiece import read_pieces

_MOST_TOKENS = 1 << 22
_ADDED_SCORE = -1000.0
_UNUSED_SCORE = -10000.0
_ADDED_TYPES = {gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED, gguf.TokenType.UNUSED}
_LOWERCASE = "tokenizer.ggml.normalizer.lowercase"
_LOOKING_SPECIAL = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}

_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BY_PATTERN = {
    rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}": "llama-bpe",
    rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}": "qwen2",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}": "tekken",
}


@dataclass(slots=True)
class Vocabulary:
    """Tokens by id, with their types; scores only where the tokenizer has them."""

    model: str
    pre: str
    tokens: list[bytes]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    lowercase: bool | None = None
    """Whether text is made lower-case first; None where the tokenizer does not say."""

    def add_to(self, writer: gguf.GGUFWriter, folder: Folder) -> None:
        """Write it, with its special tokens, merges and chat template."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores:
            writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        if self.lowercase is not None:
            writer.add_bool(_LOWERCASE, self.lowercase)
        special = gguf.SpecialVocab(folder.path, load_merges=self.model == "gpt2", n_vocab=len(self.tokens))
        special.add_to_gguf(writer)

    def cut_to(self, n_tokens: int, *, drops_added: bool = False) -> None:
        """Fill up with unused tokens, as the weights have rows for more; too many tokens are refused.

        Args:
            n_tokens: how many the weights have rows for.
            drops_added: leave out added tokens behind the last row, which only relatives of the model have.

        Raises:
            ConversionFailed: the weights have rows for fewer.
        """
        while drops_added and len(self.tokens) > n_tokens and self.types[-1] in _ADDED_TYPES:
            self.tokens.pop()
            self.types.pop()
            del self.scores[len(self.tokens) :]
        if len(self.tokens) > n_tokens:
            raise ConversionFailed(f"the tokenizer has {len(self.tokens)} tokens, the weights have rows for {n_tokens}")
        for index in range(len(self.tokens), n_tokens):
            self.tokens.append(f"[PAD{index}]".encode())
            self.types.append(gguf.TokenType.UNUSED)
            if self.scores:
                self.scores.append(_UNUSED_SCORE)


def read_vocabulary(folder: Folder) -> Vocabulary:
    """Read the tokenizer of a model.

    Raises:
        ConversionFailed: there is none, it is damaged, or of a kind that llama.cpp has no name for.
    """
    if (folder.path / "tokenizer.model").is_file():
        return _from_pieces(folder)
    description = folder.json("tokenizer.json", needed=True)
    model = description.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind == "BPE":
        return _with_types("gpt2", _pre(description), description)
    if kind == "WordPiece":
        return _word_pieces(_with_types("bert", "default", description), description.get("normalizer"))
    raise ConversionFailed(f"a tokenizer.json of type {kind} cannot be converted: send tokenizer.model along")


def _from_pieces(folder: Folder) -> Vocabulary:
    pieces = read_pieces(folder.path / "tokenizer.model")
    found = Vocabulary(
        "llama", "default", [p.text for p in pieces], [p.type for p in pieces], [p.score for p in pieces]
    )
    added = {text: index for text, index in folder.json("added_tokens.json").items() if isinstance(index, int)}
    for text, index in sorted(added.items(), key=lambda item: item[1]):
        _put(found, index, text, gguf.TokenType.USER_DEFINED)
    decoder = folder.json("tokenizer_config.json").get("added_tokens_decoder") or {}
    for key, token in decoder.items() if isinstance(decoder, dict) else ():
        if key.isdecimal() and isinstance(token, dict) and isinstance(token.get("content"), str):
            _put_added(found, int(key), token["content"], special=bool(token.get("special")))
    return found


def _with_types(model: str, pre: str, description: Mapping[str, Any]) -> Vocabulary:
    vocabulary = description["model"].get("vocab")
    if not isinstance(vocabulary, dict) or not all(isinstance(index, int) for index in vocabulary.values()):
        raise ConversionFailed("tokenizer.json has no vocabulary")
    found = Vocabulary(model, pre, [], [])
    for text, index in vocabulary.items():
        _put(found, index, text, gguf.TokenType.NORMAL)
    added = description.get("added_tokens") or []
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int) and isinstance(token.get("content"), str):
            _put_added(found, token["id"], token["content"], special=bool(token.get("special")))
    return found


def _put_added(found: Vocabulary, index: int, text: str, *, special: bool) -> None:
    if special or _looks_special(text):
        _put(found, index, text, gguf.TokenType.CONTROL)
    else:
        _put(found, index, text.replace("\u2581", " "), gguf.TokenType.USER_DEFINED)


def _put(found: Vocabulary, index: int, text: str, kind: int) -> None:
    if not 0 <= index < _MOST_TOKENS:
        raise ConversionFailed(f"the tokenizer has a token of id {index}: {_MOST_TOKENS} are possible")
    if index >= len(found.tokens):
        found.cut_to(index + 1)
    found.tokens[index], found.types[index] = text.encode("utf-8", "surrogatepass"), kind
    if found.scores:
        found.scores[index] = _ADDED_SCORE


def _looks_special(text: str) -> bool:
    between = [("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">")]
    return text in _LOOKING_SPECIAL or any(text.startswith(begin) and text.endswith(end) for begin, end in between)


def _word_pieces(found: Vocabulary, normalizer: Any) -> Vocabulary:
    """Mark what begins a word instead of what goes on with one, as llama.cpp does; it would make all lower-case."""
    if isinstance(normalizer, dict) and isinstance(normalizer.get("lowercase"), bool):
        found.lowercase = normalizer["lowercase"]
    found.tokens = [
        text if kind == gguf.TokenType.CONTROL else text[2:] if text.startswith(b"##") else b"\xe2\x96\x81" + text
        for text, kind in zip(found.tokens, found.types, strict=True)
    ]
    return found


def _pre(description: Mapping[str, Any]) -> str:
    """Name the splitting rule of a byte-level tokenizer."""
    rule = description.get("pre_tokenizer")
    listed = rule.get("pretokenizers") if isinstance(rule, dict) and rule.get("type") == "Sequence" else [rule]
    steps: list[dict[str, Any]] = [step for step in listed or [] if isinstance(step, dict)]
    if not any(step.get("type") == "ByteLevel" for step in steps):
        raise ConversionFailed("a tokenizer.json without byte level cannot be converted: send tokenizer.model along")
    patterns = [
        step["pattern"].get("Regex")
        for step in steps
        if step.get("type") == "Split" and isinstance(step.get("pattern"), dict)
    ]
    if patterns:
        if patterns[0] not in _BY_PATTERN:
            raise ConversionFailed(f"the tokenizer splits text by a rule without a name here: {patterns[0]}")
        return _BY_PATTERN[patterns[0]]
    return "smollm" if any(step.get("type") == "Digits" for step in steps) else "gpt-2"
