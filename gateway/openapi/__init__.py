"""The HTTP API as an OpenAPI document: a table of operations, and what is made of it and of the body structs."""
