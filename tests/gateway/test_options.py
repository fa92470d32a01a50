"""Merging and sorting the options of a request."""

import pytest

from actors.errors import InvalidRequest
from actors.messages.job import SamplingOptions
from actors.messages.model import LoadOptions
from gateway.options import request_options


def test_request_options_of_nothing_are_the_defaults() -> None:
    """Unset options mean defaults for sampling and "any" for loading."""
    options = request_options({}, None)
    assert (options.load, options.sampling) == (LoadOptions(), SamplingOptions())
    assert (options.num_predict, options.stop) == (-1, ())


def test_request_options_override_the_model_s() -> None:
    """A request's value wins over the model's, which wins over the default."""
    options = request_options({"temperature": 0.1, "top_k": 5, "stop": ["END"]}, {"temperature": 0.9, "num_predict": 3})
    assert (options.sampling.temperature, options.sampling.top_k) == (0.9, 5)
    assert (options.num_predict, options.stop) == (3, ("END",))


@pytest.mark.parametrize("name", ["num_thread", "num_gpu", "num_batch"])
def test_request_options_take_automatic_values_for_any(name: str) -> None:
    """What upstream calls automatic fits every loaded runner."""
    assert request_options({}, {name: -1}).load == LoadOptions()


def test_request_options_keep_num_gpu_zero() -> None:
    """No layers on a device is a wish, not the default."""
    assert request_options({}, {"num_gpu": 0}).load.num_gpu == 0


@pytest.mark.parametrize(("asked", "given"), [(0, 4), (-5, 4), (16, 16), (1 << 40, 8192)])
def test_clamped_keeps_num_ctx_in_range(asked: int, given: int) -> None:
    """A context has at least 4 tokens and at most what the model was trained for."""
    assert request_options({}, {"num_ctx": asked}).clamped(8192).num_ctx == given


def test_request_options_of_a_wrong_type_name_the_option() -> None:
    """The text is the one that clients know."""
    with pytest.raises(InvalidRequest) as caught:
        request_options({}, {"stop": "."})
    assert caught.value.message == 'option "stop" must be of type array'


def test_request_options_bound_numbers_to_what_native_code_takes() -> None:
    """Huge integers are cut to 32 bits, whatever they mean."""
    options = request_options({}, {"top_k": 1 << 60, "seed": (1 << 60) + 7, "num_predict": 1 << 60})
    assert options.sampling.top_k == options.num_predict == (1 << 31) - 1
    assert options.sampling.seed == 7


def test_request_options_refuse_a_device_below_zero() -> None:
    """Devices are counted from 0."""
    assert request_options({}, {"main_gpu": 0}).load.main_gpu == 0
    with pytest.raises(InvalidRequest, match="main_gpu"):
        request_options({}, {"main_gpu": -1})
