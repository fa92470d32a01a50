"""What ends a benchmark run early."""


class NotMeasured(Exception):
    """A server did not start, or did not answer as asked; the text says which and how. Exit status 2."""
