"""Prompt templates: Jinja from GGUF files, Go's from models and requests, and what can be told of both."""
