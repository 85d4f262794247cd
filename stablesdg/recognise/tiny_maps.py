"""A convolution of tiny maps as one product of matrices: the last layers of a ResNet have 2 x 2 pixels at 64 pixels.

There, the kernel has far more numbers than the maps. On a CPU, PyTorch's convolution spends its time on putting the
kernel in order, and three times as long on the gradients as the products take.
"""
from torch import Tensor, nn
from torch.nn import functional as F


class ProductConv2d(nn.Conv2d):
    """nn.Conv2d that multiplies matrices where it trains on a CPU and its output has few pixels."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', h, w)."""
        assert not isinstance(self.padding, str)
        h, w = ((n + 2 * pad - k) // step + 1 for n, pad, k, step in
                zip(input.shape[2:], self.padding, self.kernel_size, self.stride))
        tiny = len(input) * h * w <= self.out_channels
        if not (tiny and self.training and input.device.type == "cpu"):
            return super().forward(input)
        patches = F.unfold(input, self.kernel_size, padding=self.padding, stride=self.stride)  # (B, C k k, h w)
        rows = patches.transpose(1, 2).flatten(0, 1)  # (B h w, C k k)
        output = F.linear(rows, self.weight.flatten(1), self.bias)  # (B h w, C')
        return output.view(len(input), h, w, -1).permute(0, 3, 1, 2)


def multiply_on_tiny_maps(model: nn.Module) -> None:
    """Let the model's plain convolutions of more than one pixel be ProductConv2d. Their parameters stay the same."""
    for module in model.modules():
        plain = type(module) is nn.Conv2d and module.groups == 1 and module.dilation == (1, 1)
        if plain and module.kernel_size != (1, 1) and not isinstance(module.padding, str):
            module.__class__ = ProductConv2d  # the same parameters with another forward
