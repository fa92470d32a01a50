"""Making model files: converting and quantizing, in child processes that may be killed."""
