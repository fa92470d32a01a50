"""Logging: structured `key=value` lines on standard error, one set-up for every process."""

import logging
import sys
import time


class _KeyValue(logging.Formatter):
    """`time=… level=… source=… msg="…"`, as users of Ollama know it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process
        self._second = 0
        self._clock = ""

    def format(self, record: logging.LogRecord) -> str:
        if int(record.created) != self._second:
            self._second = int(record.created)
            self._clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        message = record.getMessage().replace('"', '\\"').replace("\n", "\\n")
        source = f"{self._process}:{record.name}"
        line = f'time={self._clock}.{int(record.msecs):03d} level={record.levelname} source={source} msg="{message}"'
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def get_logger(name: str) -> logging.Logger:
    """Give the logger of a module."""
    return logging.getLogger(name)


def configure_logging(*, process: str, debug: bool) -> None:
    """Send this process's log to standard error, INFO and above, or everything with `debug`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_KeyValue(process))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)
    # What no line of ours shows is not looked up for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for noisy in ("httpx", "httpcore", "hpack", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
