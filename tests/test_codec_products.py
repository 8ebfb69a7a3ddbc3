"""Matrix products with weights laid out once."""

import copy

import pytest
import torch

from codec.products import Linear, pack


@pytest.fixture(name="layer", params=[True, False])
def layer_fixture(request):
    torch.manual_seed(0)
    return Linear(48, 80, bias=request.param)


@pytest.mark.parametrize("shape", [(1, 1, 48), (2, 285, 48), (3, 0, 48), (7, 48)])
def test_packed_products_are_products(layer, shape):
    x = torch.randn(shape)
    plain = copy.deepcopy(layer)
    pack(layer)
    assert layer._packed is not None
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-5)


def test_scattered_input(layer):
    x = torch.randn(2, 48, 30).transpose(1, 2)
    plain = copy.deepcopy(layer)
    pack(layer)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-5)


def test_other_precisions_are_left_to_torch(layer):
    layer = layer.to(torch.bfloat16)
    pack(layer)
    assert layer._packed is None


def test_gradients_flow(layer):
    pack(layer)
    layer(torch.randn(1, 3, 48)).sum().backward()
    assert layer.weight.grad is not None


def test_the_keys_of_a_checkpoint_stay(layer):
    keys = set(layer.state_dict())
    pack(layer)
    assert set(layer.state_dict()) == keys
