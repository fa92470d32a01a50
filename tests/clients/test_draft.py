"""A model with a DRAFT through a whole server."""

from pathlib import Path

import ollama
import pytest

from registry.create import CreateRequest, create
from registry.store import Store
from tests.support.server import RunningServer

pytestmark = pytest.mark.processes

GREEDY = {"temperature": 0, "num_predict": 48}


def test_draft_changes_no_answer(client: ollama.Client, server: RunningServer, tiny_gguf: Path) -> None:
    """With a draft model, without, and with drafts turned off by the request, the answer is the same."""
    store = Store(server.place.models)
    digest = store.blobs.add_file(tiny_gguf)
    for _ in create(store, CreateRequest(model="drafted", source="tiny", draft_files={"draft.gguf": digest})):
        pass
    answers = {
        str(client.chat(model, [{"role": "user", "content": "Count to 9."}], options=GREEDY | options).message)
        for model in ("tiny", "drafted")
        for options in ({}, {"draft_num_predict": 0}, {"draft_num_predict": 2})
    }
    assert len(answers) == 1
    store.delete("drafted")
