"""The `details` object that several routes show."""

import msgspec

from registry import estimate
from registry.gguf import GgufFile
from registry.model import InstalledModel


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """A model in short; the two lengths are shown by the list only."""

    parent_model: str = ""
    format: str = ""
    family: str = ""
    families: tuple[str, ...] | None = None
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: int | msgspec.UnsetType = msgspec.UNSET
    embedding_length: int | msgspec.UnsetType = msgspec.UNSET


def details_of(model: InstalledModel) -> Details:
    """Describe a model from its configuration alone."""
    config = model.config
    return Details(
        parent_model=model.parent,
        format=config.model_format,
        family=config.model_family,
        families=config.model_families,
        parameter_size=config.model_type,
        quantization_level=config.file_type,
    )


def listed_details(model: InstalledModel, head: GgufFile) -> Details:
    """Describe a model for the list: with its training context and width, which the configuration may override."""
    config = model.config
    context = config.context_length or head.integer("context_length") or msgspec.UNSET
    width = config.embedding_length or estimate.embedding_length(head) or msgspec.UNSET
    return msgspec.structs.replace(details_of(model), context_length=context, embedding_length=width)
