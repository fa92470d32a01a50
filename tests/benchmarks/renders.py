"""Go templates: what it takes to render a conversation once its template is compiled."""

import statistics
import time
from pathlib import Path

from registry.templates.go.prompt import PromptValues, render_prompt
from tests.benchmarks.effort import Effort
from tests.benchmarks.results import Section, Table, at_most

NAME = "renders"
_MOST_US = 50.0
_MICRO = 1e6
_N_RENDERS = 2000
_TEMPLATE = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}"
    "{{- range .ToolCalls }}\n<tool_call>\n{{ .Function.Name }}\n</tool_call>{{ end }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
_VALUES = PromptValues(
    messages=(
        {"role": "system", "content": "Be kind and brief."},
        {"role": "user", "content": "Why is the sky blue?"},
        {"role": "assistant", "content": "Because the air scatters blue light most."},
        {"role": "user", "content": "And at dawn?"},
    )
)


def run(_model: Path, _effort: Effort) -> Section:
    """Render one conversation of four messages again and again."""
    render_prompt(_TEMPLATE, _VALUES)
    times_us = []
    for _ in range(_N_RENDERS):
        started = time.perf_counter()
        render_prompt(_TEMPLATE, _VALUES)
        times_us.append((time.perf_counter() - started) * _MICRO)
    median, mean = statistics.median(times_us), statistics.mean(times_us)
    return Section(
        name=NAME,
        title="Go templates rendered",
        notes=("a ChatML template with tool calls, four messages, compiled before",),
        tables=(Table(header=("median us", "mean us"), rows=((f"{median:.1f}", f"{mean:.1f}"),)),),
        gates=(at_most("template render, median", median, _MOST_US, "us"),),
        figures=({"median_us": median, "mean_us": mean},),
    )
