"""What one `run` keeps between requests: model, conversation and the choices made by flags and slash commands."""

from dataclasses import dataclass, field
from typing import Any

from gateway.cli.answer import Display
from gateway.cli.attachments import attached, begins_with_file
from gateway.cli.client import Json

_SENSES = frozenset({"vision", "audio"})


@dataclass(slots=True)
class Session:
    """Owned by the command that runs it; slash commands change it in place."""

    model: str
    display: Display
    keep_alive: str | None = None
    answer_format: Any = None
    """`json`, a schema, or None for free text."""
    think: bool | str | None = None
    system: str = ""
    """Set in this session; the model's own system message is the server's business."""
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[Json] = field(default_factory=list)
    """Bounded by the conversation that its user types; `/clear` empties it."""
    capabilities: tuple[str, ...] = ()
    parent_model: str = ""

    def generate_body(self, prompt: str) -> Json:
        """Give the body of one `/api/generate` call; files that the prompt names go along as `user_message` has it."""
        words, media = self._split(prompt)
        optional = {"system": self.system, "images": media}
        return self._body() | {"prompt": words} | {name: value for name, value in optional.items() if value}

    def user_message(self, text: str) -> Json:
        """Give a message of the user's; files that it names are attached for a model that sees or hears.

        Raises:
            CommandFailed: a file cannot be read.
        """
        words, media = self._split(text)
        return {"role": "user", "content": words} | ({"images": media} if media else {})

    def chat_body(self) -> Json:
        """Give the body of one `/api/chat` call over the whole conversation."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return self._body() | {"messages": [*system, *self.messages]}

    def take_description(self, reply: Json) -> None:
        """Keep what matters of the model's `/api/show` answer."""
        self.capabilities = tuple(reply.get("capabilities") or ())
        self.parent_model = (reply.get("details") or {}).get("parent_model") or ""

    def is_for_embeddings(self) -> bool:
        """Tell whether the model can only embed."""
        return "embedding" in self.capabilities and "completion" not in self.capabilities

    def is_command(self, text: str) -> bool:
        """Tell a slash command from a message, which may begin with the path of a file."""
        return text.startswith("/") and not (self._has_senses() and begins_with_file(text))

    def _has_senses(self) -> bool:
        return not _SENSES.isdisjoint(self.capabilities)

    def _split(self, text: str) -> tuple[str, list[str]]:
        return attached(text) if self._has_senses() else (text, [])

    def _body(self) -> Json:
        think = self.think
        if think is None and "thinking" in self.capabilities:
            think = True
        optional = {
            "keep_alive": self.keep_alive,
            "format": self.answer_format,
            "think": think,
            "options": self.options or None,
        }
        return {"model": self.model} | {name: value for name, value in optional.items() if value is not None}
