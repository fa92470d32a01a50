"""One large file into the store: parts in parallel, resumable, shared by all who want it, hashed on the way."""
