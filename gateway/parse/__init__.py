"""Incremental parsers of what models say."""
