"""The error tree: one root, shallow, by cause.

    LlamactorError
    ├── RequestError           the caller can mend it
    │   ├── InvalidRequest         malformed or contradictory input
    │   ├── InvalidGrammar         a format that is wrong, unsupported or too complex
    │   ├── ModelNotFound          the name names nothing here
    │   ├── ModelNameRequired      the name is empty
    │   ├── UnsupportedByModel     the model lacks the capability
    │   ├── NotAvailable           this version does not offer it
    │   ├── PromptTooLong          it does not fit the context and may not be cut
    │   └── TemplateFailed         the chat template refused or overran its bounds
    ├── CapacityError          a later retry can help
    │   ├── QueueFull              OLLAMA_MAX_QUEUE requests wait already
    │   ├── QueueTimeout           it waited its whole deadline for a slot
    │   ├── Draining               this part is going down and takes nothing new
    │   ├── SchedulerUnavailable   no scheduler answered in time
    │   ├── TooManyBodies          requests that are arriving take all the memory they may
    │   ├── TooManyTransfers       as many pulls and pushes run as one gateway worker takes
    │   ├── ModelSuspended         its runners died too often in a row; it is tried again later
    │   └── InsufficientMemory     the model does not fit beside what is in use
    ├── StoreError             the model store, or a file offered to it
    │   ├── InvalidName
    │   ├── InvalidDigest
    │   ├── DigestMismatch
    │   ├── BlobNotFound
    │   ├── InvalidManifest
    │   ├── InvalidGguf
    │   ├── InvalidModelfile
    │   ├── ConversionFailed       model files could not be converted or quantized
    │   ├── UnknownRenderer        names a renderer of Ollama's, and brings no template
    │   ├── StoreUnwritable
    │   ├── UploadNotFound         no such upload session
    │   └── UploadMisplaced        a part does not begin where the session ends
    ├── RegistryError          another registry, or the way to it
    │   ├── RegistryUnreachable    no connection, or none that lasted
    │   ├── RegistryRefused        it answered with an error status
    │   ├── RegistryMisbehaved     its answer breaks the protocol, or cannot be trusted
    │   ├── AddressForbidden       the way leads to an address that may not be asked
    │   ├── RemoteModelNotFound    it has no such model
    │   ├── ReadingForbidden       this server does not serve its store
    │   └── Unauthorized           a key or a token is missing, or does not suffice
    ├── RunnerError            a runner could not do its work
    │   ├── LoadFailed
    │   │   └── LoadOutOfMemory    the memory for it could not be had
    │   ├── RunnerDied
    │   ├── PoisonedJob            two runners ended under it
    │   ├── DecodeFailed
    │   └── StreamGap              deltas of a stream were lost
    ├── TransportError         sockets and frames
    │   ├── MalformedMessage       the peer's fault
    │   ├── ProtocolMismatch       the peer speaks another version
    │   ├── PeerUnreachable        no such peer is connected
    │   ├── Backlogged             the peer does not read; its queue is full
    │   ├── FrameTooLarge          our own frame is over the bound
    │   ├── AlreadyRunning         another process holds this run folder
    │   ├── RunFolderUnusable      it cannot be made, or is not ours
    │   └── ListenFailed           the HTTP address is in use or not ours
    └── Bug                    our own invariant is broken

Every class has a stable `code`. Across processes an error travels as a `Failure` (code, message, fields), never
as a pickle. Only the gateway maps codes to HTTP, only the command line maps them to exit statuses.
"""

from typing import ClassVar

import msgspec

FieldValue = str | int | float | None


class Failure(msgspec.Struct, frozen=True):
    """An error as data."""

    code: str
    message: str
    fields: dict[str, FieldValue] = {}


class LlamactorError(Exception):
    """Root of all errors that cross a module border; the message names the fact and the remedy."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **fields: FieldValue) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __str__(self) -> str:
        return self.message

    def as_failure(self) -> Failure:
        """Give this error as data."""
        return Failure(code=self.code, message=self.message, fields=self.fields)


class RequestError(LlamactorError):
    """The caller's request cannot be served as it stands; the same request fails again."""

    code = "request"


class InvalidRequest(RequestError):
    """Malformed or contradictory input."""

    code = "invalid_request"


class InvalidGrammar(RequestError):
    """A format that answers shall have is wrong, unsupported or too complex; the text names the keyword or the place.

    Most are found before the answer begins, the last kind possibly in the middle of it.
    """

    code = "invalid_grammar"

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"invalid format ({kind}): {reason}", kind=kind, reason=reason)


class ModelNotFound(RequestError):
    """No installed model has this name."""

    code = "model_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"model '{name}' not found", model=name)


class ModelNameRequired(RequestError):
    """The request names no model."""

    code = "model_name_required"

    def __init__(self) -> None:
        super().__init__("model is required")


class UnsupportedByModel(RequestError):
    """The model lacks a capability that the request needs."""

    code = "unsupported_by_model"

    def __init__(self, model: str, capability: str) -> None:
        super().__init__(f"{model} does not support {capability}", model=model, capability=capability)


class NotAvailable(RequestError):
    """The feature exists in the API but not in this version of llamactor."""

    code = "not_available"

    def __init__(self, feature: str, remedy: str) -> None:
        super().__init__(f"{feature} is not available in this version of llamactor: {remedy}", feature=feature)


class PromptTooLong(RequestError):
    """The prompt does not fit the context and could not, or may not, be cut."""

    code = "prompt_too_long"

    def __init__(self, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"the prompt is longer than the context length currently available to the model: {prompt_tokens} tokens "
            f"in a context of {context_tokens}; shorten it or raise num_ctx",
            prompt_tokens=prompt_tokens,
            context_tokens=context_tokens,
        )


class TemplateFailed(RequestError):
    """The chat template raised an error for these messages, or overran its bounds in time, memory or output."""

    code = "template_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the model's chat template failed: {reason}", reason=reason)


class CapacityError(LlamactorError):
    """There is no room now; a retry after `retry_after_s` can help."""

    code = "capacity"


class QueueFull(CapacityError):
    """As many requests wait as OLLAMA_MAX_QUEUE allows."""

    code = "queue_full"

    def __init__(self, max_queue: int, *, retry_after_s: float = 1.0) -> None:
        super().__init__(
            "server busy, please try again.  maximum pending requests exceeded",
            max_queue=max_queue,
            retry_after_s=retry_after_s,
        )


class TooManyBodies(CapacityError):
    """The bodies of requests that are being read take as much memory as they may together."""

    code = "too_many_bodies"

    def __init__(self, max_bytes: int, *, retry_after_s: float = 1.0) -> None:
        super().__init__(
            f"server busy, please try again: requests of {max_bytes} bytes in all are being read already",
            max_bytes=max_bytes,
            retry_after_s=retry_after_s,
        )


class QueueTimeout(CapacityError):
    """The request waited its whole deadline and got no slot. Not `QueueFull`: it was admitted."""

    code = "queue_timeout"

    def __init__(self, waited_s: float) -> None:
        super().__init__(
            f"server busy: no slot became free within {waited_s:.0f} s, please try again",
            waited_s=waited_s,
            retry_after_s=5,
        )


class Draining(CapacityError):
    """This process is shutting down and takes no new work."""

    code = "draining"

    def __init__(self) -> None:
        super().__init__("the server is shutting down, please try again", retry_after_s=5)


class SchedulerUnavailable(CapacityError):
    """No scheduler answered within the deadline."""

    code = "scheduler_unavailable"

    def __init__(self, waited_s: float) -> None:
        super().__init__(
            f"no scheduler answered within {waited_s:.0f} s: is `actorctl scheduler` (or `actorctl serve`) running?",
            waited_s=waited_s,
            retry_after_s=2,
        )


class TooManyTransfers(CapacityError):
    """As many pulls and pushes run as one gateway worker takes."""

    code = "too_many_transfers"

    def __init__(self, n_transfers: int) -> None:
        super().__init__(
            f"server busy: {n_transfers} models are being pulled or pushed already, please try again",
            n_transfers=n_transfers,
            retry_after_s=30,
        )


class ModelSuspended(CapacityError):
    """Runners of the model died several times in a row; nothing is tried before `retry_after_s`."""

    code = "model_suspended"

    def __init__(self, model: str, *, reason: str, n_deaths: int, again_in_s: float) -> None:
        super().__init__(
            f"model {model} failed {n_deaths} times in a row and is tried again in {again_in_s:.0f} s; the last time: "
            f"{reason}",
            model=model,
            reason=reason,
            retry_after_s=max(1.0, again_in_s),
        )


class InsufficientMemory(CapacityError):
    """The model does not fit into the memory that is free or could be freed by evicting idle models."""

    code = "insufficient_memory"

    def __init__(self, model: str, *, needed_bytes: int, available_bytes: int) -> None:
        super().__init__(
            f"model {model} needs {needed_bytes / 1e9:.1f} GB of memory but {available_bytes / 1e9:.1f} GB are "
            "available: lower num_ctx or OLLAMA_NUM_PARALLEL, or unload another model",
            model=model,
            needed_bytes=needed_bytes,
            available_bytes=available_bytes,
        )


class StoreError(LlamactorError):
    """The model store, or a file offered to it, is not as it must be."""

    code = "store"


class InvalidName(StoreError):
    """Not a model name."""

    code = "invalid_name"

    def __init__(self, name: str) -> None:
        super().__init__("invalid model name", name=name)


class InvalidDigest(StoreError):
    """Not `sha256` with 64 hex digits."""

    code = "invalid_digest"

    def __init__(self, digest: str) -> None:
        super().__init__("invalid digest format", digest=digest)


class DigestMismatch(StoreError):
    """The bytes do not have the digest that was announced for them; nothing was stored."""

    code = "digest_mismatch"

    def __init__(self, *, expected: str, actual: str) -> None:
        super().__init__(f'digest mismatch, expected "{expected}", got "{actual}"', expected=expected, actual=actual)


class BlobNotFound(StoreError):
    """No blob of this digest is stored."""

    code = "blob_not_found"

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest} not found: upload it to /api/blobs/{digest} first", digest=digest)


class InvalidManifest(StoreError):
    """A manifest or configuration in the store cannot be read."""

    code = "invalid_manifest"


class InvalidGguf(StoreError):
    """The file is no GGUF file, is cut short or lies about its contents."""

    code = "invalid_gguf"


class InvalidModelfile(StoreError):
    """A Modelfile breaks its grammar."""

    code = "invalid_modelfile"


class ConversionFailed(StoreError):
    """A model's files could not be converted or quantized, by the fault of the files or of the process that tried."""

    code = "conversion_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the model could not be made: {reason}", reason=reason)


class UnknownRenderer(StoreError):
    """The model names a built-in renderer, of which there is none here, and brings no template to use instead."""

    code = "unknown_renderer"

    def __init__(self, renderer: str, *, model: str) -> None:
        super().__init__(
            f'unknown renderer "{renderer}": model {model} brings no template of its own; create a model from it with '
            "a TEMPLATE, send a template with the request, or send the finished prompt with raw: true",
            renderer=renderer,
            model=model,
        )


class StoreUnwritable(StoreError):
    """The operating system refused a write to the store."""

    code = "store_unwritable"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"cannot write to the model store at {path}: {reason}; check its owner and free space, "
            "or set OLLAMA_MODELS",
            path=path,
            reason=reason,
        )


class UploadNotFound(StoreError):
    """No upload session has this id: it was committed, cancelled or pruned."""

    code = "upload_not_found"

    def __init__(self, session: str) -> None:
        super().__init__("no such upload: begin a new one", session=session[:40])


class UploadMisplaced(StoreError):
    """A part of an upload does not begin where the session ends, or another part is coming in."""

    code = "upload_misplaced"

    def __init__(self, *, expected: int, got: int) -> None:
        super().__init__(f"the part begins at byte {got}, expected {expected}", expected=expected, got=got)


class RegistryError(LlamactorError):
    """Another registry, or the way to it; the store is as it was before."""

    code = "registry"


class RegistryUnreachable(RegistryError):
    """No connection could be made, or every one broke off; a retry continues where this one ended."""

    code = "registry_unreachable"

    def __init__(self, method: str, url: str, reason: str) -> None:
        super().__init__(f'{method.capitalize()} "{url}": {reason}', url=url, reason=reason)


class RegistryRefused(RegistryError):
    """The registry answered with an error status. Not `RemoteModelNotFound`: that is its 404 for a manifest."""

    code = "registry_refused"

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}", status=status)


class RegistryMisbehaved(RegistryError):
    """The registry's answer breaks the protocol or cannot be trusted; what it sent was dropped."""

    code = "registry_misbehaved"


class AddressForbidden(RegistryError):
    """A name or a redirect leads to an address that may not be asked."""

    code = "address_forbidden"


class RemoteModelNotFound(RegistryError):
    """The registry has no such model."""

    code = "remote_model_not_found"

    def __init__(self) -> None:
        super().__init__("file does not exist")


class ReadingForbidden(RegistryError):
    """This server does not serve its store as a registry."""

    code = "reading_forbidden"

    def __init__(self) -> None:
        super().__init__("this server does not serve its models: its operator can set LLAMACTOR_REGISTRY=1")


class Unauthorized(RegistryError):
    """A key or token is missing or does not suffice: at another registry, or, for writing, at ours."""

    code = "unauthorized"


class RunnerError(LlamactorError):
    """A runner could not do its work."""

    code = "runner"


class LoadFailed(RunnerError):
    """llama.cpp refused the model, or the load overran OLLAMA_LOAD_TIMEOUT."""

    code = "load_failed"


class LoadOutOfMemory(LoadFailed):
    """The operating system or a device refused the memory. Not `InsufficientMemory`, which no load was tried for."""

    code = "load_out_of_memory"


class RunnerDied(RunnerError):
    """The runner process ended under a request. Not `LoadFailed`: it had been ready."""

    code = "runner_died"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"model runner has unexpectedly stopped ({reason}): the next request loads the model again",
            reason=reason,
        )


class PoisonedJob(RunnerError):
    """Two runners ended under one request: it may be the cause, and is not tried again.

    Not `RunnerDied`, which is for one death under a request that could not be resumed.
    """

    code = "poisoned_job"

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(
            f"two runners have ended or hung while they had this request ({job_id}), so it is not tried again; the "
            f"last one: {reason}",
            job_id=job_id,
            reason=reason,
        )


class DecodeFailed(RunnerError):
    """llama.cpp could not evaluate a batch; the runner goes on."""

    code = "decode_failed"


class StreamGap(RunnerError):
    """Parts of an answer were lost between runner and gateway, so the rest was refused rather than shortened."""

    code = "stream_gap"

    def __init__(self, *, expected: int, got: int) -> None:
        super().__init__(
            f"parts of the answer were lost (expected part {expected}, got {got}); please send the request again",
            expected=expected,
            got=got,
        )


class TransportError(LlamactorError):
    """Sockets and frames."""

    code = "transport"


class MalformedMessage(TransportError):
    """A peer sent frames that do not decode."""

    code = "malformed_message"


class ProtocolMismatch(TransportError):
    """A peer speaks another protocol version: upgrade all parts together."""

    code = "protocol_mismatch"

    def __init__(self, *, expected: int, got: int) -> None:
        super().__init__(
            f"a peer speaks protocol {got}, this process {expected}: run the same llamactor everywhere",
            expected=expected,
            got=got,
        )


class PeerUnreachable(TransportError):
    """No peer with this identity is connected."""

    code = "peer_unreachable"


class Backlogged(TransportError):
    """A peer does not read and its queue is full; the message was not sent."""

    code = "backlogged"


class AlreadyRunning(TransportError):
    """Another process holds this run folder."""

    code = "already_running"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"another llamactor process holds {path}: stop it, or set LLAMACTOR_RUN_DIR to another folder",
            path=path,
        )


class FrameTooLarge(TransportError):
    """A frame of ours is over the bound and was not sent; it never will be. Not `MalformedMessage`: a peer's fault."""

    code = "frame_too_large"

    def __init__(self, *, n_bytes: int, max_bytes: int) -> None:
        super().__init__(
            f"a message of {n_bytes} bytes is over the bound of {max_bytes} bytes", n_bytes=n_bytes, max_bytes=max_bytes
        )


class RunFolderUnusable(TransportError):
    """The run folder cannot be made or is another user's. Not `AlreadyRunning`: no process of ours is in the way."""

    code = "run_folder_unusable"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"cannot use the run folder {path}: {reason}; set LLAMACTOR_RUN_DIR to another one",
            path=path,
            reason=reason,
        )


class ListenFailed(TransportError):
    """A listener cannot have its address. Not `AlreadyRunning`: any program may hold a port."""

    code = "listen_failed"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"listen {address}: {reason}" if "://" in address else f"listen tcp {address}: {reason}",
            address=address,
            reason=reason,
        )


class Bug(LlamactorError):
    """An invariant of our own is broken."""

    code = "bug"


def _leaves(root: type[LlamactorError]) -> dict[str, type[LlamactorError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _leaves(child)
    return found


_BY_CODE = _leaves(LlamactorError)


def from_failure(failure: Failure) -> LlamactorError:
    """Rebuild the error that a `Failure` describes; an unknown code gives the root class."""
    cls = _BY_CODE.get(failure.code, LlamactorError)
    error = cls.__new__(cls)
    LlamactorError.__init__(error, failure.message, **failure.fields)
    return error
