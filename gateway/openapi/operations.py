"""Every operation of the API: what it is for, which body it reads and how its answer comes.

The table is checked against the code by `tests/gateway/openapi`: the same routes, the same bodies, examples that are
answered, required fields that are missed. Add a line here with every route.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.wire import anthropic_requests as anthropic
from gateway.wire import inspection_requests as inspection
from gateway.wire import native_requests as native
from gateway.wire import openai_requests as openai
from gateway.wire import responses_requests as responses
from gateway.wire.request_json import RequestBody

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
_TALK = [{"role": "user", "content": "Hello"}]
_BYTES = {"application/octet-stream": {"type": "string", "format": "binary"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    body: type[RequestBody] | None = None
    required: tuple[str, ...] = ()
    """Fields without which the request is refused."""
    example: dict[str, Any] = field(default_factory=dict)
    """A small body that is answered, for a model called `smollm2`."""
    upload: dict[str, Any] = field(default_factory=dict)
    """Schemas by media type of a body that is no JSON."""
    streams: str | None = None
    """Media type of the answer when it comes in pieces."""
    reply: str | None = "application/json"
    """Media type of a whole answer; None for an empty one."""
    success: tuple[int, ...] = (200,)

    @property
    def operation_id(self) -> str:
        """A name for generated clients."""
        words = self.path.replace("<", "").replace(">", "").replace("-", "_").strip("/").split("/")
        return "_".join([self.method.lower(), *(word.replace(".", "_") for word in words if word)])


def _post(path: str, summary: str, body: type[RequestBody], *required: str, **rest: Any) -> Operation:
    return Operation(method="POST", path=path, summary=summary, body=body, required=required, **rest)


def _get(path: str, summary: str, **rest: Any) -> Operation:
    return Operation(method="GET", path=path, summary=summary, **rest)


OPERATIONS = (
    _get("/", "Tell that the server runs", reply="text/plain"),
    _get("/openapi.json", "Give this description"),
    _get("/api/version", "Tell the version of Ollama that is matched, and our own"),
    _get("/api/tags", "List the installed models"),
    _get("/api/ps", "List the loaded models"),
    _get("/api/status", "Tell all that the scheduler knows: hosts, runners, who waits and how long, the last events"),
    _post(
        "/api/pin",
        "Keep a model from being evicted, or let it go",
        native.PinRequest,
        "model",
        example={"model": "smollm2"},
    ),
    _post(
        "/api/drain",
        "Let a host or a runner finish and take nothing more",
        native.DrainRequest,
        "target",
        example={"target": "host"},
    ),
    _post("/api/show", "Describe a model", native.ShowRequest, example={"model": "smollm2"}),
    _post(
        "/api/generate",
        "Complete a prompt",
        native.GenerateRequest,
        "model",
        example={"model": "smollm2", "prompt": "Hello"},
        streams=NDJSON,
    ),
    _post(
        "/api/chat",
        "Continue a conversation",
        native.ChatRequest,
        "model",
        example={"model": "smollm2", "messages": _TALK},
        streams=NDJSON,
    ),
    _post("/api/embed", "Embed texts", native.EmbedRequest, "model", example={"model": "minilm", "input": "Hello"}),
    _post(
        "/api/embeddings",
        "Embed one text, as older clients do",
        native.EmbeddingRequest,
        "model",
        example={"model": "minilm", "prompt": "Hello"},
    ),
    _post(
        "/api/rerank",
        "Sort documents by how well they fit a query",
        native.RerankRequest,
        "model",
        example={"model": "minilm", "query": "Hello", "documents": ["Hi", "Bye"]},
    ),
    _post(
        "/api/tokenize",
        "Give the tokens of a text",
        inspection.TokenizeRequest,
        "model",
        "content",
        example={"model": "smollm2", "content": "Hello"},
    ),
    _post(
        "/api/detokenize",
        "Give the text of tokens",
        inspection.DetokenizeRequest,
        "model",
        "tokens",
        example={"model": "smollm2", "tokens": [1, 2]},
    ),
    _post(
        "/api/apply-template",
        "Give the prompt that a conversation becomes",
        inspection.ApplyTemplateRequest,
        "model",
        "messages",
        example={"model": "smollm2", "messages": _TALK},
    ),
    _post(
        "/api/create",
        "Make a model",
        native.CreateBody,
        "model",
        example={"model": "made", "from": "smollm2"},
        streams=NDJSON,
    ),
    _post(
        "/api/copy",
        "Give a model another name, too",
        native.CopyRequest,
        "source",
        "destination",
        example={"source": "smollm2", "destination": "copied"},
        reply=None,
    ),
    Operation(
        method="DELETE",
        path="/api/delete",
        summary="Remove a model",
        body=native.DeleteRequest,
        example={"model": "smollm2"},
        reply=None,
    ),
    _post("/api/pull", "Get a model from a registry", native.PullRequest, example={"model": "x"}, streams=NDJSON),
    _post("/api/push", "Put a model into a registry", native.PushRequest, example={"model": "x"}, streams=NDJSON),
    Operation(method="HEAD", path="/api/blobs/<digest>", summary="Ask whether a blob is stored", reply=None),
    Operation(
        method="POST", path="/api/blobs/<digest>", summary="Store a blob", upload=_BYTES, reply=None, success=(200, 201)
    ),
    _post(
        "/v1/chat/completions",
        "Continue a conversation, as OpenAI does",
        openai.ChatCompletionRequest,
        "model",
        "messages",
        example={"model": "smollm2", "messages": _TALK},
        streams=EVENTS,
    ),
    _post(
        "/v1/completions",
        "Complete a prompt, as OpenAI does",
        openai.CompletionRequest,
        "model",
        example={"model": "smollm2", "prompt": "Hello"},
        streams=EVENTS,
    ),
    _post(
        "/v1/responses",
        "Answer, and keep the answer to go on from, as OpenAI does",
        responses.ResponsesRequest,
        "model",
        example={"model": "smollm2", "input": "Hello"},
        streams=EVENTS,
    ),
    _get("/v1/responses/<response_id>", "Give a kept answer"),
    Operation(method="DELETE", path="/v1/responses/<response_id>", summary="Forget a kept answer"),
    Operation(
        method="POST",
        path="/v1/audio/transcriptions",
        summary="Write down what is said in a recording, as OpenAI does",
        upload={
            "multipart/form-data": {
                "type": "object",
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "model": {"type": "string"},
                    "language": {"type": "string"},
                    "prompt": {"type": "string"},
                    "response_format": {"type": "string"},
                    "stream": {"type": "boolean"},
                },
                "required": ["file", "model"],
            }
        },
    ),
    _post(
        "/v1/embeddings",
        "Embed texts, as OpenAI does",
        openai.EmbedRequest,
        "model",
        "input",
        example={"model": "minilm", "input": "Hello"},
    ),
    _post(
        "/v1/rerank",
        "Sort documents by how well they fit a query",
        native.RerankRequest,
        "model",
        example={"model": "minilm", "query": "Hello", "documents": ["Hi", "Bye"]},
    ),
    _get("/v1/models", "List the installed models, as OpenAI does"),
    _get("/v1/models/<path:name>", "Describe a model, as OpenAI does"),
    _post(
        "/v1/messages",
        "Continue a conversation, as Anthropic does",
        anthropic.MessagesRequest,
        "model",
        "max_tokens",
        "messages",
        example={"model": "smollm2", "max_tokens": 16, "messages": _TALK},
        streams=EVENTS,
    ),
    _post(
        "/v1/messages/count_tokens",
        "Count the tokens of a conversation, as Anthropic does",
        anthropic.CountTokensRequest,
        "model",
        "messages",
        example={"model": "smollm2", "messages": _TALK},
    ),
)
