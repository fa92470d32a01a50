"""A host's launcher: the facts of the host, and its processes (forkserver, idle spare, runners, renderer)."""
