"""The runner: one process, one loaded model, one decode thread."""
