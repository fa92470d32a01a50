"""Errors as data, and back."""

from collections.abc import Iterator

import pytest

from actors import errors
from actors.errors import Failure, LlamactorError, ModelNotFound, from_failure


def tree(root: type[LlamactorError]) -> Iterator[type[LlamactorError]]:
    """Yield a class and all below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_codes_are_unique() -> None:
    """A code names one class, or it could not be rebuilt."""
    codes = [cls.code for cls in tree(LlamactorError)]
    assert len(codes) == len(set(codes))


def test_tree_in_the_docstring_names_every_class() -> None:
    """The drawing is the map that readers use."""
    drawn = errors.__doc__ or ""
    assert [cls.__name__ for cls in tree(LlamactorError) if cls.__name__ not in drawn] == []


@pytest.mark.parametrize("cls", list(tree(LlamactorError)), ids=lambda cls: cls.__name__)
def test_failure_of_each_class_gives_that_class_back(cls: type[LlamactorError]) -> None:
    """Also of those whose constructors want something else than a message."""
    error = from_failure(Failure(code=cls.code, message="text", fields={"n": 1}))
    assert type(error) is cls
    assert str(error) == "text"
    assert error.as_failure() == Failure(code=cls.code, message="text", fields={"n": 1})


def test_failure_with_unknown_code_gives_the_root() -> None:
    """A newer peer may know more errors."""
    error = from_failure(Failure(code="from the future", message="text"))
    assert type(error) is LlamactorError
    assert error.message == "text"


def test_error_carries_its_fields() -> None:
    """Whoever reacts needs no parsing of texts."""
    failure = ModelNotFound("llama3").as_failure()
    assert failure == Failure(code="model_not_found", message="model 'llama3' not found", fields={"model": "llama3"})
