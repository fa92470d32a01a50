"""Prompt templates: Jinja from GGUF files, and what can be told about Go templates without rendering them."""
