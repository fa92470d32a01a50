"""What can go wrong in the command line itself; each becomes one `Error:` line and exit status 1.

CommandFailed
├── ServerUnreachable      nothing answers at OLLAMA_HOST
└── ApiFailure             the server answered with an error
"""


class CommandFailed(Exception):
    """A command cannot do what it was asked; the text is what its user reads."""


class ServerUnreachable(CommandFailed):
    """Nothing answers at the address of OLLAMA_HOST."""

    def __init__(self) -> None:
        super().__init__("could not connect to llamactor server, run 'actorctl serve' to start it")


class ApiFailure(CommandFailed):
    """The server refused a request or failed at it; `status` is 200 when an answer broke off."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
