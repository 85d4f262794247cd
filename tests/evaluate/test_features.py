"""The feature network in evaluation, where it is computed faster, against the plain form of the same equations."""
from typing import Any

import numpy as np
import pytest
import torch
from conftest import relative_error
from PIL import Image
from torch.nn import functional as F

from stablesdg.data.images import to_unit_tensor
from stablesdg.evaluate.extract import CPU_BATCH_SIZE, extract_features
from stablesdg.evaluate.features import DETAIL, FeatureNetwork, mean_around


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = FeatureNetwork((4, 6, 8)).double().eval().requires_grad_(False)
    for name, value in network.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network


def plain(network: Any, x: torch.Tensor) -> torch.Tensor:
    """The features with pooling, and with each norm after its convolution."""
    def normalised(x, conv, norm):
        return F.batch_norm(conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)

    blurred = F.avg_pool2d(x, 9, stride=1, padding=4, count_include_pad=False)
    x = F.relu(network.conv_in(torch.cat([2 * x - 1, DETAIL * (x - blurred)], dim=1)))
    for block in network.blocks:
        x = F.relu(normalised(x, block.conv1, block.norm1))
        x = F.relu(x + normalised(x, block.conv2, block.norm2))
    return x.mean(dim=(2, 3))


@pytest.mark.parametrize("height, width", [(40, 40), (37, 52), (5, 3)])
def test_features_equal_those_of_the_plain_form_in_float64_and_to_1e_5_in_float32(network, height, width):
    x = torch.rand(3, 3, height, width, dtype=torch.float64)
    assert relative_error(network(x), plain(network, x)) < 1e-12
    coarse = FeatureNetwork(network.widths).eval()
    coarse.load_state_dict(network.state_dict())
    assert relative_error(coarse(x.float()), plain(network, x)) < 1e-5


def test_a_mean_around_a_pixel_leaves_out_what_lies_outside_the_image():
    x = torch.rand(2, 3, 21, 14, dtype=torch.float64)
    reference = F.avg_pool2d(x, 9, stride=1, padding=4, count_include_pad=False)
    assert torch.allclose(mean_around(x, 9), reference, atol=1e-14)


def test_training_updates_the_running_statistics(network):
    trained: Any = FeatureNetwork(network.widths)
    before = trained.blocks[0].norm1.running_mean.clone()
    trained(torch.rand(2, 3, 16, 16))
    assert not torch.equal(trained.blocks[0].norm1.running_mean, before)


def test_files_that_are_read_ahead_keep_their_order_whatever_their_sizes(network, tmp_path):
    rng, files = np.random.default_rng(0), []
    for i in range(2 * CPU_BATCH_SIZE + 3):
        side = 24 if i % 7 < 4 else 20
        files.append(tmp_path / f"{i:02d}.png")
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(files[-1])
    batches = list(extract_features(files, network.float(), to_unit_tensor, 16, ""))
    alone = [network(to_unit_tensor(Image.open(file))[None]) for file in files]
    assert relative_error(torch.cat(batches), torch.cat(alone)) < 1e-5
    assert max(map(len, batches)) <= CPU_BATCH_SIZE


def test_an_image_that_cannot_be_read_stops_the_features_with_its_name(network, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(Exception, match="broken.png"):
        list(extract_features([tmp_path / "broken.png"], network, to_unit_tensor, 16, ""))
