"""What templates offer, told from their text."""

import pytest

from registry.templates.jinjascan import scan_jinja


@pytest.mark.parametrize(
    ("template", "thinks"),
    [
        ("{{ content }}", False),
        ("<think>{{ thinking }}</think>", True),
        ("<|start|>assistant<|channel|>analysis<|message|>", True),
        ("[THINK]{{ thinking }}[/THINK]", True),
        ("<|START_THINKING|><|END_THINKING|>", True),
        ("<|channel>thought<channel|>", True),
        ("<|channel|>final<|message|>", False),
    ],
)
def test_scan_finds_every_way_to_mark_thinking(template: str, thinks: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """A model thinks when its template writes the marks of any family."""
    assert scan_jinja(template).thinking is thinks
