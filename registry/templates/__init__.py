"""Prompt templates: Jinja from GGUF files, Go's from models and requests, and what is told of both without rendering."""
