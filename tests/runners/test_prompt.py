"""Prompts that fit: rendering, cutting, limits and refusals."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidGrammar, InvalidRequest, PromptTooLong, TemplateFailed, UnsupportedByModel
from actors.messages.job import (
    ChatMessage,
    ChatPrompt,
    FillPrompt,
    Grammar,
    GrammarKind,
    JobBody,
    RawPrompt,
    SamplingOptions,
    ToolCall,
    ToolFunction,
)
from actors.messages.launcher_to_runner import RendererAssignment
from actors.messages.model import JobRef, LoadPlan, ModelSpec
from runners.jobs import PreparedJob, Shift
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.media_reader import MediaReader
from runners.prompt import PromptPreparer, cut_middle
from runners.rendering import RendererClient
from runners.tokenizer import Tokenizer
from tests.support.entry import running_entry
from tests.support.pictures import png

pytestmark = [pytest.mark.model, pytest.mark.processes]

NUM_CTX = 256
DEEP = '{"type":"object","properties":{"a":' * 2000 + "{}" + "}}" * 2000
REFUSED = (
    (GrammarKind.JSON_SCHEMA, DEEP, "nested deeper than 100 levels"),
    (GrammarKind.JSON_SCHEMA, '{"type":"array","maxItems":1000000}', "maxItems is over 10000"),
    (GrammarKind.JSON_SCHEMA, '{"type":"array","uniqueItems":true}', 'unsupported keyword: "uniqueItems"'),
    (GrammarKind.JSON_SCHEMA, '{"not":{"type":"string"}}', 'unsupported keyword: "not"'),
    (GrammarKind.JSON_SCHEMA, '{"oneOf":[{"type":"integer"},{"type":"number"}]}', "unsupported keyword: oneOf"),
    (GrammarKind.JSON_SCHEMA, '{"type":"wat"}', "wat"),
    (GrammarKind.JSON_SCHEMA, '{"allOf":[{"type":"string"},{"type":"integer"}]}', "Unsatisfiable"),
    (GrammarKind.JSON_SCHEMA, '{"type":', "it is no JSON"),
    (GrammarKind.JSON_SCHEMA, "[]", "it must be an object"),
    (
        GrammarKind.JSON_SCHEMA,
        '{"properties":{' + ",".join(f'"k{number}":{{}}' for number in range(3000)) + "}}",
        "properties has over 2000 members",
    ),
    (GrammarKind.JSON_SCHEMA, '{"enum":["' + "x" * 200_000 + '"]}', "131072 are allowed"),
    (GrammarKind.REGEX, "(", "unclosed group"),
    (GrammarKind.REGEX, "(" * 5000 + ")" * 5000, "regex"),
    (GrammarKind.REGEX, "a" * 20_000, "16384 are allowed"),
    (GrammarKind.LARK, "start: missing", "missing"),
    (GrammarKind.LARK, "start: " + "(" * 5000 + '"a"' + ")" * 5000, "too deeply nested"),
    (GrammarKind.GBNF, 'root ::= "a"{1000000}', "more than 2000 repetitions"),
)


class Desk:
    """A preparer for the tiny model."""

    def __init__(self, model: Model, preparer: PromptPreparer) -> None:
        self.model = model
        self._preparer = preparer

    async def prepare(self, body: JobBody) -> PreparedJob:
        """Prepare one job."""
        return await self._preparer.prepare(JobRef("job", 1, "gw"), body)

    def text(self, job: PreparedJob) -> str:
        """Give a prompt's text, control tokens shown."""
        return b"".join(self.model._convert(token, special=True) for token in job.prompt).decode()


@pytest.fixture
async def desk(tiny_gguf: Path, run_dir: Path) -> AsyncIterator[Desk]:
    """The tiny model's preparer with a real renderer process."""
    endpoint = f"ipc://{run_dir}/renderer.sock"
    plan = LoadPlan(num_ctx=NUM_CTX, n_slots=1)
    start_backend()
    model = Model(str(tiny_gguf), plan)
    spec = ModelSpec(
        key="tiny",
        name="tiny:latest",
        digest="0" * 64,
        weights_path=str(tiny_gguf),
        weights_bytes=0,
        n_layers=4,
        n_ctx_train=8192,
        kv_bytes_per_token=1024,
    )
    tokenizer = Tokenizer(model)
    renderer = RendererClient(endpoint, identity="test")
    with running_entry("runners.renderer", RendererAssignment(endpoint=endpoint)):
        yield Desk(model, PromptPreparer(tokenizer, MediaReader(model, spec, plan), renderer, plan))
    renderer.close()
    tokenizer.close()
    model.close()


def _chat(*messages: tuple[str, str]) -> ChatPrompt:
    return ChatPrompt(messages=tuple(ChatMessage(role=role, content=content) for role, content in messages))


async def test_prepare_chat_uses_the_models_template(desk: Desk) -> None:
    """Messages are rendered by the template in the file and opened for the assistant."""
    text = desk.text(await desk.prepare(JobBody(prompt=_chat(("user", "Hello")))))
    assert "<|im_start|>user\nHello<|im_end|>" in text
    assert text.rstrip().endswith(("assistant", "<think>"))


async def test_prepare_last_assistant_message_stays_open(desk: Desk) -> None:
    """A trailing assistant message is the beginning of the answer."""
    text = desk.text(await desk.prepare(JobBody(prompt=_chat(("user", "Hello"), ("assistant", "I am")))))
    assert text.endswith("I am")


async def test_prepare_context_tokens_come_first(desk: Desk) -> None:
    """Tokens of an earlier reply precede the rendered prompt untouched."""
    prompt = ChatPrompt(messages=(ChatMessage(role="user", content="Hello"),), context_tokens=(5, 6, 7))
    job = await desk.prepare(JobBody(prompt=prompt))
    assert job.prompt[:3] == [5, 6, 7]


@pytest.mark.parametrize("token", [-1, 10**9])
async def test_prepare_foreign_token_ids_are_refused(desk: Desk, token: int) -> None:
    """An id outside the vocabulary would crash llama.cpp; it is a clear error instead."""
    prompt = ChatPrompt(messages=(ChatMessage(role="user", content="Hello"),), context_tokens=(token,))
    with pytest.raises(InvalidRequest, match=f"context holds {token}"):
        await desk.prepare(JobBody(prompt=prompt))


async def test_prepare_long_chat_loses_its_oldest_messages(desk: Desk) -> None:
    """System and last message stay, the oldest others go, and the loss is counted."""
    turns = [("user" if number % 2 == 0 else "assistant", f"number {number} " * 12) for number in range(20)]
    job = await desk.prepare(JobBody(prompt=_chat(("system", "Be brief."), *turns, ("user", "And now?"))))
    text = desk.text(job)
    assert len(job.prompt) < NUM_CTX
    assert job.truncated_messages > 0
    assert job.truncated_tokens == 0
    assert "Be brief." in text
    assert "And now?" in text
    assert "number 0 " not in text
    kept = 20 - job.truncated_messages
    assert (f"number {19 - kept + 1} " in text) == (kept > 0)


async def test_prepare_long_text_is_cut_in_the_middle_or_refused(desk: Desk) -> None:
    """One endless message keeps its beginning and its end; with `truncate` off it is refused with both numbers."""
    body = JobBody(prompt=RawPrompt(text="begin " + "filler " * 900 + "end"))
    job = await desk.prepare(body)
    assert len(job.prompt) < NUM_CTX
    assert job.truncated_tokens > 0
    assert desk.text(job).startswith("begin")
    assert desk.text(job).endswith("end")
    with pytest.raises(PromptTooLong, match=f"in a context of {NUM_CTX}"):
        await desk.prepare(JobBody(prompt=body.prompt, truncate=False))


async def test_prepare_limits_the_answer(desk: Desk) -> None:
    """Without a shift an unlimited answer ends with the context, the caller's own if that is smaller."""
    whole = await desk.prepare(JobBody(prompt=RawPrompt(text="Hello"), shift=False))
    assert len(whole.prompt) + whole.max_new_tokens == NUM_CTX
    small = await desk.prepare(JobBody(prompt=RawPrompt(text="Hello"), num_ctx=64, shift=False))
    assert len(small.prompt) + small.max_new_tokens == 64
    few = await desk.prepare(JobBody(prompt=RawPrompt(text="Hello"), num_predict=5))
    assert few.max_new_tokens == 5


async def test_prepare_with_shift_lets_the_answer_outgrow_the_context(desk: Desk) -> None:
    """Ten contexts are the end of an answer that no limit ends; a memory that cannot shift gets the plain limit."""
    job = await desk.prepare(JobBody(prompt=RawPrompt(text="Hello"), num_ctx=64, num_keep=3))
    bos = int(desk.model.add_bos)
    assert (job.max_new_tokens, job.shift) == (640, Shift(num_ctx=64, n_keep=3 + bos))
    assert job.unshifted().max_new_tokens == 64 - len(job.prompt)
    assert job.unshifted().shift is None
    kept = await desk.prepare(JobBody(prompt=RawPrompt(text="Hello"), num_keep=-1))
    assert kept.shift == Shift(num_ctx=NUM_CTX, n_keep=len(kept.prompt) + bos)


async def test_prepare_without_shift_refuses_what_does_not_fit(desk: Desk) -> None:
    """A prompt loses tokens from its middle only where the answer may lose some, too."""
    with pytest.raises(PromptTooLong, match="longer than the context length currently available"):
        await desk.prepare(JobBody(prompt=RawPrompt(text="filler " * 900), shift=False))


async def test_prepare_grammar_is_compiled_or_refused(desk: Desk) -> None:
    """What cannot be used is refused by its keyword before the job takes a slot; a good one gives each job its own."""
    good = Grammar(kind=GrammarKind.JSON_SCHEMA, text='{"type":"object"}')
    prompt = RawPrompt(text="Hello")
    first, second = [await desk.prepare(JobBody(prompt=prompt, grammar=good)) for _ in range(2)]
    assert first.constraint is not None
    assert first.constraint is not second.constraint
    for kind, text, reason in REFUSED:
        with pytest.raises(InvalidGrammar) as caught:
            await desk.prepare(JobBody(prompt=prompt, grammar=Grammar(kind=kind, text=text)))
        assert reason in caught.value.message


async def test_prepare_foreign_biases_are_refused(desk: Desk) -> None:
    """A bias for a token that the model does not have is told with the ids that it has; so are too many breakers."""
    prompt = RawPrompt(text="Hello")
    with pytest.raises(InvalidRequest, match="logit_bias holds 1000000"):
        await desk.prepare(JobBody(prompt=prompt, sampling=SamplingOptions(logit_bias=((1_000_000, 1.0),))))
    with pytest.raises(InvalidRequest, match="dry_sequence_breakers has 17 texts"):
        await desk.prepare(JobBody(prompt=prompt, sampling=SamplingOptions(dry_sequence_breakers=("x",) * 17)))


async def test_prepare_draws_a_seed_unless_given(desk: Desk) -> None:
    """A negative seed is replaced by a random one, so that two answers differ."""
    drawn = {(await desk.prepare(JobBody(prompt=RawPrompt(text="Hello")))).sampling.seed for _ in range(3)}
    assert len(drawn) == 3
    fixed = JobBody(prompt=RawPrompt(text="Hello"), sampling=SamplingOptions(seed=7))
    assert (await desk.prepare(fixed)).sampling.seed == 7


async def test_prepare_empty_prompt_is_refused(desk: Desk) -> None:
    """A prompt without tokens has nothing to continue."""
    with pytest.raises(InvalidRequest, match="no tokens"):
        await desk.prepare(JobBody(prompt=RawPrompt(text="")))


@settings(max_examples=200, deadline=None)
@given(n_tokens=st.integers(0, 400), limit=st.integers(2, 300), n_keep=st.integers(-5, 400))
def test_cut_middle_fits_and_keeps_both_ends(n_tokens: int, limit: int, n_keep: int) -> None:
    """The result fits, begins like the prompt and ends like it."""
    tokens = list(range(n_tokens))
    kept = cut_middle(tokens, limit=limit, n_keep=n_keep)
    assert len(kept) <= limit
    if n_tokens:
        assert kept[-1] == tokens[-1]
    if n_tokens <= limit:
        assert kept == tokens


async def test_prepare_tells_the_end_of_a_rendered_chat(desk: Desk) -> None:
    """The parser of the answer sees how the prompt ended: here, behind thinking that was shut."""
    messages = (ChatMessage(role="user", content="Hello"),)
    shut = await desk.prepare(JobBody(prompt=ChatPrompt(messages=messages, think=False)))
    assert shut.prompt_tail.endswith("</think>\n\n")
    assert (await desk.prepare(JobBody(prompt=RawPrompt(text="Hello")))).prompt_tail == ""


async def test_prepare_finds_the_control_tokens_that_shall_be_seen(desk: Desk) -> None:
    """A text that is one token is marked; others are no control tokens and are left out."""
    job = await desk.prepare(
        JobBody(prompt=RawPrompt(text="Hello"), visible_tokens=("<|im_start|>", "not one token", "<|im_start|>"))
    )
    assert list(job.marks.values()) == [b"<|im_start|>"]
    assert desk.model.piece(next(iter(job.marks))) == b""


async def test_prepare_go_template_renders_tools_calls_and_results(desk: Desk) -> None:
    """A Go template gets the whole conversation; an answer that has begun is its own affair."""
    call = ToolCall(id="1", function=ToolFunction(name="add", arguments={"b": 2, "a": 1}))
    messages = (
        ChatMessage(role="user", content="1+2?"),
        ChatMessage(role="assistant", thinking="hm", tool_calls=(call,)),
        ChatMessage(role="tool", content="3", tool_name="add"),
        ChatMessage(role="assistant", content="It is"),
    )
    template = (
        "{{ range .Tools }}{{ .Function.Name }};{{ end }}{{ range .Messages }}[{{ .Role }}]{{ .Thinking }}"
        "{{ .Content }}{{ range .ToolCalls }}{{ .Function.Name }}{{ .Function.Arguments }}{{ end }}{{ .ToolName }}"
        "{{ end }}{{ .Think }}"
    )
    tools = ({"type": "function", "function": {"name": "add"}},)
    prompt = ChatPrompt(messages=messages, tools=tools, think=True, template=template)
    job = await desk.prepare(JobBody(prompt=prompt))
    assert desk.text(job) == 'add;[user]1+2?[assistant]hmadd{"a":1,"b":2}[tool]3add[assistant]It istrue'


async def test_prepare_go_template_of_one_turn_is_repeated_and_left_open(desk: Desk) -> None:
    """The last turn ends at the response; the oldest messages go when the context is too small."""
    template = "<{{ .System }}|{{ .Prompt }}>{{ .Response }}</>"
    chat = _chat(("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C"))
    shown = await desk.prepare(JobBody(prompt=msgspec.structs.replace(chat, template=template)))
    assert desk.text(shown) == "<S|A>B</><|C>"
    turns = [("user" if number % 2 == 0 else "assistant", "word " * 30) for number in range(20)]
    long = msgspec.structs.replace(_chat(("system", "S"), *turns, ("user", "C")), template=template)
    cut = await desk.prepare(JobBody(prompt=long))
    assert cut.truncated_messages > 0
    assert desk.text(cut).startswith("<S|")
    assert desk.text(cut).endswith("|C>")


async def test_prepare_suffix_fills_a_gap_and_a_bad_template_is_told(desk: Desk) -> None:
    """Prompt and suffix go through the template; what it refuses is an error of this job."""
    fill = FillPrompt(template="<P>{{ .Prompt }}<S>{{ .Suffix }}<M>", prompt="a", suffix="b")
    assert desk.text(await desk.prepare(JobBody(prompt=fill))) == "<P>a<S>b<M>"
    with pytest.raises(TemplateFailed, match="unclosed action"):
        await desk.prepare(JobBody(prompt=msgspec.structs.replace(fill, template="{{ .X")))


async def test_prepare_image_without_projector_is_refused(desk: Desk) -> None:
    """A model that reads text only says so, and names the remedy."""
    chat = ChatPrompt(messages=(ChatMessage(role="user", content="What is this?", media=(png(8, 8, seed=1),)),))
    for prompt in (chat, RawPrompt(text="[img-0]", media=(png(8, 8, seed=1),))):
        with pytest.raises(UnsupportedByModel, match="does not support images: it has no projector"):
            await desk.prepare(JobBody(prompt=prompt))


async def test_prepare_no_image_is_refused_before_the_projector_is_asked(desk: Desk) -> None:
    """Bytes that are no image are told as such."""
    chat = ChatPrompt(messages=(ChatMessage(role="user", content="What is this?", media=(b"hello",)),))
    with pytest.raises(InvalidRequest, match="no image or sound"):
        await desk.prepare(JobBody(prompt=chat))
