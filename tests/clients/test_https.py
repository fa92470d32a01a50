"""The whole server over HTTPS: clients of HTTP/2, and our own command line."""

import json
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from tests.support.certificate import write_certificate
from tests.support.server import DEADLINE_S, Place, running_server

pytestmark = pytest.mark.processes


def test_server_with_a_certificate_speaks_https_only(tiny_gguf: Path) -> None:
    """A client that trusts it is answered over HTTP/2, the command line reads OLLAMA_HOST's scheme."""
    with tempfile.TemporaryDirectory(prefix="lla-", dir="/tmp") as folder:
        place = Place(Path(folder))
        place.install("tiny", tiny_gguf)
        cert, key = write_certificate(place.folder)
        with running_server(place, LLAMACTOR_TLS_CERT=str(cert), LLAMACTOR_TLS_KEY=str(key)) as server:
            url = f"https://localhost:{server.port}"
            trust = ssl.create_default_context(cafile=str(cert))
            with httpx.Client(base_url=url, http2=True, verify=trust, timeout=DEADLINE_S, trust_env=False) as client:
                body = {"model": "tiny", "prompt": "Hello", "options": {"temperature": 0}}
                answer = client.post("/api/generate", json=body)
                lines = [json.loads(line) for line in answer.text.splitlines()]
                assert answer.http_version == "HTTP/2"
                assert "".join(line["response"] for line in lines) == "Hello! How can I help you today?"
            listed = subprocess.run(
                [sys.executable, "-m", "gateway.cli", "list"],
                env=place.environ(OLLAMA_HOST=url, SSL_CERT_FILE=str(cert)),
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            assert "tiny:latest" in listed.stdout, listed.stderr
