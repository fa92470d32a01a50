"""What a Jinja chat template offers, told from its text: Ollama's rules, and further marks of thinking."""

import re
from dataclasses import dataclass
from functools import lru_cache

_THINKING_MARKS = (
    ("<|channel|>", "<|message|>", "analysis"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>", "<channel|>"),
)
"""Marks of thinking that Ollama does not look for; all of a row must be there."""
_SPLITS_THINKING = re.compile(r"split\(\s*['\"]</think>['\"]\s*\)")
_COMPARES_TOOL = re.compile(r"role['\"]?\]?\s*==\s*['\"]tool['\"]|==\s*['\"]tool['\"]")


@dataclass(frozen=True, slots=True)
class JinjaOffer:
    """Which of tools and thinking a template offers, and whether calls and results can be shown to the model again."""

    tools: bool
    thinking: bool
    round_trip: bool

    @property
    def capabilities(self) -> frozenset[str]:
        """The same as names."""
        return frozenset(name for name, yes in (("tools", self.tools), ("thinking", self.thinking)) if yes)


@lru_cache(maxsize=64)
def scan_jinja(text: str) -> JinjaOffer:
    """Scan a template's text; no text offers nothing."""
    tools = "tools" in text or "tool_call" in text
    both_tags = "<think>" in text and "</think>" in text
    thinking = both_tags or (_SPLITS_THINKING.search(text) is not None and "reasoning_content" not in text)
    thinking = thinking or any(all(mark in text for mark in marks) for marks in _THINKING_MARKS)
    calls = "tool_calls" in text or "assistant_tool_call" in text
    results = any(word in text for word in ("tool_response", "tool_results", "ipython"))
    results = results or _COMPARES_TOOL.search(text) is not None
    return JinjaOffer(tools, thinking, "tools" in text and calls and results)
