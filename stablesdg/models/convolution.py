"""A convolution that is quick where maps are tiny: the deepest maps of Stable Diffusion at 256 pixels are 4 x 4.

There, the kernel has far more numbers than the maps, and on a processor PyTorch's convolution spends its time on
putting the kernel in order. One product of matrices takes a half to a fifth of that time.
"""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TINY = 16  # a map is tiny if it has no more pixels than one for so many output channels


class Conv2d(nn.Conv2d):
    """nn.Conv2d without groups or dilation. On a processor, tiny maps are convolved by a product of matrices."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', h, w)."""
        assert not isinstance(self.padding, str)
        (k_y, k_x), (s_y, s_x), (p_y, p_x) = self.kernel_size, self.stride, self.padding
        h, w = (input.shape[2] + 2 * p_y - k_y) // s_y + 1, (input.shape[3] + 2 * p_x - k_x) // s_x + 1
        if TINY * h * w > self.out_channels or input.device.type != "cpu":
            return super().forward(input)
        x = F.pad(input, (p_x, p_x, p_y, p_y)).permute(0, 2, 3, 1)  # (B, H, W, C)
        under_kernel = [x[:, i:i + s_y * (h - 1) + 1:s_y, j:j + s_x * (w - 1) + 1:s_x]
                        for i in range(k_y) for j in range(k_x)]  # each (B, h, w, C)
        kernel = self.weight.permute(0, 2, 3, 1).flatten(1)  # (C', k_y k_x C)
        return F.linear(torch.cat(under_kernel, dim=3), kernel, self.bias).permute(0, 3, 1, 2)


def quicken_tiny_maps(model: nn.Module) -> None:
    """Let the model's convolutions of more than one pixel be Conv2d of this file. Their parameters stay the same."""
    for module in model.modules():
        plain = type(module) is nn.Conv2d and module.groups == 1 and module.dilation == (1, 1)
        if plain and module.kernel_size != (1, 1) and not isinstance(module.padding, str):
            module.__class__ = Conv2d  # the same module with another forward
