"""Convolutions of tiny maps: the same numbers and gradients as PyTorch's, and only where they are meant to be."""
import copy

import pytest
import torch
from torch import nn

from stablesdg.models.convolution import Conv2d, quicken_tiny_maps
from stablesdg.recognise import classifiers


@pytest.mark.parametrize("kernel, stride, padding, size", [
    (3, 1, 1, (2, 2)), (3, 2, 1, (4, 3)), ((5, 2), (2, 1), (0, 1), (6, 1))])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_pytorchs_convolution_in_float64(kernel, stride, padding, size, bias):
    torch.manual_seed(0)
    theirs = nn.Conv2d(7, 64, kernel, stride, padding, bias=bias).double()
    ours = copy.deepcopy(theirs)
    quicken_tiny_maps(nn.Sequential(ours))
    assert isinstance(ours, Conv2d) and not isinstance(theirs, Conv2d)
    x = torch.randn(3, 7, *size, dtype=torch.float64).to(memory_format=torch.channels_last)
    found = []
    for conv in (ours, theirs):
        own = x.clone().requires_grad_()
        y = conv(own)
        y.sin().sum().backward()
        found.append([y, own.grad, *(parameter.grad for parameter in conv.parameters())])
    for mine, other in zip(*found):
        assert mine.shape == other.shape and torch.allclose(mine, other, atol=1e-12)


def test_large_maps_take_pytorchs_convolution(monkeypatch):
    torch.manual_seed(0)
    conv = Conv2d(3, 64, 3, padding=1)
    monkeypatch.setattr("stablesdg.models.convolution.F.linear", lambda *args: pytest.fail("a product of matrices"))
    conv(torch.zeros(2, 3, 6, 6))


def test_an_image_does_not_depend_on_how_many_there_are():
    torch.manual_seed(0)
    conv = Conv2d(8, 640, 3, padding=1)
    x = torch.randn(9, 8, 4, 4)
    assert torch.allclose(conv(x)[:1], conv(x[:1]), atol=1e-5)


def test_a_resnet_has_them_under_the_names_of_torchvision():
    model = classifiers.build("resnet", 3)
    assert isinstance(model.get_submodule("layer4.0.conv2"), Conv2d)
    assert type(model.get_submodule("layer4.0.downsample.0")) is nn.Conv2d
