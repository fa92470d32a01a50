"""Chat templates in the renderer process: right, refused, or killed, and the process after it serves on."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from actors.errors import TemplateFailed
from actors.messages.launcher_to_runner import RendererAssignment
from runners.rendering import GoRenderRequest, RendererClient, RenderRequest
from tests.support.entry import running_entry

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}" + "{% endfor %}" * 3


def _request(template: str) -> RenderRequest:
    return RenderRequest(
        number=0,
        template=template,
        messages=[{"role": "user", "content": "hi"}],
        tools=[],
        bos_token="<s>",  # noqa: S106  # no password
        eos_token="</s>",  # noqa: S106  # no password
        add_generation_prompt=True,
        variables={"enable_thinking": False},
    )


@pytest.fixture
def endpoint(run_dir: Path) -> str:
    """Where the renderer of a test listens."""
    return f"ipc://{run_dir}/renderer.sock"


@pytest.fixture
def renderer(endpoint: str) -> Iterator[None]:
    """A renderer process."""
    with running_entry("runners.renderer", RendererAssignment(endpoint=endpoint)):
        yield


@contextlib.asynccontextmanager
async def _client(endpoint: str) -> AsyncIterator[RendererClient]:
    client = RendererClient(endpoint, identity="test")
    try:
        with trio.fail_after(30):
            yield client
    finally:
        client.close()


@pytest.mark.processes
@pytest.mark.usefixtures("renderer")
async def test_renderer_renders_messages_and_variables(endpoint: str) -> None:
    """The template sees messages, special tokens and variables."""
    async with _client(endpoint) as client:
        text = await client.render(
            _request("{{ bos_token }}{{ messages[0].content }}{% if not enable_thinking %} quick{% endif %}")
        )
    assert text == "<s>hi quick"


@pytest.mark.processes
@pytest.mark.usefixtures("renderer")
async def test_renderer_hostile_template_is_refused_and_the_next_one_served(endpoint: str) -> None:
    """A template that reaches for the system or for endless text gets an error, and the renderer lives."""
    async with _client(endpoint) as client:
        for template in ("{{ ''.__class__.__mro__ }}", "{{ 'x' * 999999999999 }}", "{{ raise_exception('no') }}"):
            with pytest.raises(TemplateFailed):
                await client.render(_request(template))
        for template in ("{{ .X", "{{ range 1000000000 }}{{ end }}", "{{ len nil }}"):
            with pytest.raises(TemplateFailed):
                await client.render(GoRenderRequest(number=0, template=template))
        assert await client.render(_request("ok")) == "ok"
        assert await client.render(GoRenderRequest(number=0, template="{{ .Prompt }}ok")) == "ok"


@pytest.mark.processes
async def test_renderer_endless_template_is_killed_and_reported(endpoint: str) -> None:
    """A template that never ends kills two renderers, then fails with a clear error."""
    assignment = RendererAssignment(endpoint=endpoint)

    async def keep_one_running() -> None:
        for _ in range(3):
            with running_entry("runners.renderer", assignment) as process:
                await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)

    async with _client(endpoint) as client, trio.open_nursery() as nursery:
        nursery.start_soon(keep_one_running)
        with pytest.raises(TemplateFailed, match="did not finish within 2 s"):
            await client.render(_request(ENDLESS))
        assert await client.render(_request("{{ messages[0].content }}")) == "hi"
        nursery.cancel_scope.cancel()
