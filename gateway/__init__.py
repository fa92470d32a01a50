"""The HTTP side: routes, wire formats, streams and the command line."""
