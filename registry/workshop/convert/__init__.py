"""Safetensors folders to GGUF files: models and LoRA adapters, with numpy and gguf's writer, without torch."""
