"""Our key pair: an ed25519 key in OpenSSH's format, which signs for a user at registries.

It lies where Ollama keeps its own (`id_ed25519` and `id_ed25519.pub` beside the model folder), so that a user known to
a registry stays known. It is made when it is first needed and absent.
"""

import base64
import binascii
import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from actors.errors import Unauthorized

_LONGEST_KEY_BYTES = 64 << 10
_PUBLIC_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and what it can sign."""

    key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        """The base64 field of the public key's OpenSSH line."""
        return _field_of(self.key.public_key())

    def signature(self, text: bytes) -> str:
        """Sign a text; standard base64."""
        return base64.b64encode(self.key.sign(text)).decode()


def load_identity(path: Path) -> Identity:
    """Read the key, or make it when there is none.

    Raises:
        Unauthorized: it cannot be read or made, or is no ed25519 key without a passphrase.
    """
    try:
        return Identity(_read(path))
    except FileNotFoundError:
        pass
    try:
        _make(path)
        return Identity(_read(path))
    except OSError as error:
        raise Unauthorized(f"cannot make the key {path}: {error.strerror}") from error


def verifies(public_key: str, signature: str, text: bytes) -> bool:
    """Tell whether a signature of a text was made with the private half of an OpenSSH public key field."""
    try:
        key = load_ssh_public_key(f"ssh-ed25519 {public_key}".encode())
        if not isinstance(key, Ed25519PublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), text)
    except (ValueError, binascii.Error, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        with path.open("rb") as file:
            key = load_ssh_private_key(file.read(_LONGEST_KEY_BYTES), password=None)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unauthorized(f"cannot read the key {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unauthorized(f"the key {path} is no OpenSSH key without a passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Unauthorized(f"the key {path} is no ed25519 key")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    _write_once(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), mode=0o600)
    public = f"ssh-ed25519 {_field_of(_read(path).public_key())}\n"
    _write_once(path.with_name(f"{path.name}.pub"), public.encode(), mode=_PUBLIC_MODE)


def _write_once(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file unless there is one; of two processes that write it at once, one wins and the other takes its."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()


def _field_of(key: Ed25519PublicKey) -> str:
    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return line.split(b" ")[1].decode()
