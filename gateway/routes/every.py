"""All routes of the gateway."""

from quart import Blueprint

from gateway.routes.anthropic_messages import anthropic_message_routes
from gateway.routes.blobs import blob_routes
from gateway.routes.chat import chat_routes
from gateway.routes.cluster import cluster_routes
from gateway.routes.create import create_routes
from gateway.routes.embeddings import embedding_routes
from gateway.routes.generate import generate_routes
from gateway.routes.inspection import inspection_routes
from gateway.routes.openai_chat import openai_chat_routes
from gateway.routes.openai_completions import openai_completion_routes
from gateway.routes.openai_models import openai_model_routes
from gateway.routes.openapi import openapi_routes
from gateway.routes.registry_read import registry_read_routes
from gateway.routes.registry_write import registry_write_routes
from gateway.routes.rerank import rerank_routes
from gateway.routes.responses import responses_routes
from gateway.routes.root import root_routes
from gateway.routes.store import store_routes
from gateway.routes.transcriptions import transcription_routes
from gateway.routes.transfer import transfer_routes
from gateway.worker import Worker


def blueprints(worker: Worker) -> tuple[Blueprint, ...]:
    """Build every blueprint."""
    return (
        root_routes(worker),
        generate_routes(worker),
        chat_routes(worker),
        openapi_routes(),
        store_routes(worker),
        blob_routes(worker),
        create_routes(worker),
        transfer_routes(worker),
        registry_read_routes(worker),
        registry_write_routes(worker),
        inspection_routes(worker),
        openai_chat_routes(worker),
        openai_completion_routes(worker),
        openai_model_routes(worker),
        responses_routes(worker),
        transcription_routes(worker),
        anthropic_message_routes(worker),
        embedding_routes(worker),
        rerank_routes(worker),
        cluster_routes(worker),
    )
