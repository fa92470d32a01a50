"""Incremental parsers of what models say: thinking, tool calls and text, however the answer is cut into pieces."""
