"""Other registries, seen as a client: addresses, connections, tokens, requests."""
