"""The HTTP routes, one module per area; each gives a Quart blueprint."""
