"""DCGAN: two convolutional networks play against each other (Radford, Metz and Chintala 2015, section 3 and Fig. 1).

    z      (B, 100)            uniform in [-1, 1]
    G(z)   (B, 3, side, side)  transposed convolutions from 4 x 4 positions, which double the side each time
    D(x)   (B,)                logit of "x is real", by convolutions that halve the side each time

Where we leave the paper:

    sides         64, 128 or 256 px. The paper stops at 64. We add a level with half as many channels for each doubling
    batch         32 images, not 128: a category has a few hundred
    augmentation  differentiable (augmentation.py), where there are fewer than 1,000 images. Else D knows them by heart
    drawing       by a moving average of G's weights. Its batch norms take the statistics of a fixed set of z, so that
                  an image does not depend on those that are drawn with it
"""
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .augmentation import augment
from .common import Learning, Phase, Rival

SIDES = (64, 128, 256)
LATENT = 100  # numbers in z
WIDTH = 1024  # channels at 4 x 4 positions
LEARNING = Learning(lr=2e-4, betas=(0.5, 0.999))
SLOPE, INITIAL_SD = 0.2, 0.02  # of the leaky ReLU for negative values; of the weights at the start
BATCH_SIZE = 32
FEW_IMAGES = 1000  # below that, augmentation is on
STATISTICS_BATCHES, STATISTICS_BATCH = 16, 32  # of z, for the batch norms


class Generator(nn.Module):
    """z to images."""

    def __init__(self, side: int, width: int = WIDTH) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(LATENT, width, 4, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        for c in channels(side, width)[1:]:
            layers += [nn.ConvTranspose2d(2 * c, c, 4, 2, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
        layers += [nn.ConvTranspose2d(channels(side, width)[-1], 3, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, z: Tensor) -> Tensor:
        """(B, 100) -> (B, 3, side, side) in [-1, 1]."""
        return self.layers(z[:, :, None, None])


class Discriminator(nn.Module):
    """Images to logits. There is no batch norm at its entry."""

    def __init__(self, side: int, width: int = WIDTH) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels(side, width)[-1], 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for c in channels(side, width)[-2::-1]:
            layers += [nn.Conv2d(c // 2, c, 4, 2, 1, bias=False), nn.BatchNorm2d(c), nn.LeakyReLU(SLOPE)]
        layers += [nn.Conv2d(width, 1, 4)]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, side, side) -> (B,)."""
        return self.layers(x).flatten()


def channels(side: int, width: int) -> list[int]:
    """Channels at 4, 8, .. side / 2 positions a side. Every doubling of the side halves them."""
    return [width >> level for level in range((side // 4).bit_length() - 1)]


def initialise(module: nn.Module) -> None:
    """Weights from a Gaussian of standard deviation 0.02, around 1 for the gains of batch norms."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, INITIAL_SD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, INITIAL_SD)


def codes_of(seeds: Sequence[int], device: torch.device) -> Tensor:
    """z (B, 100). Row i depends on seeds[i] alone."""
    return torch.stack([draw_codes(1, torch.Generator().manual_seed(seed))[0] for seed in seeds]).to(device)


def draw_codes(number: int, generator: torch.Generator) -> Tensor:
    """z (number, 100), uniform in [-1, 1], on the CPU."""
    return 2 * torch.rand((number, LATENT), generator=generator) - 1


def dcgan(images: Tensor, *, width: int = WIDTH, augmentation: bool | None = None, seed: int = 0,
          device: torch.device | str = "cpu") -> Rival:
    """DCGAN for images (N, 3, side, side) in [-1, 1].

    width         channels at 4 x 4 positions
    augmentation  whether D sees augmented images (None: if there are fewer than 1,000)
    seed          of the weights at the start
    """
    N, _, side, _ = images.shape
    device = torch.device(device)
    augmented = N < FEW_IMAGES if augmentation is None else augmentation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G, D = Generator(side, width).to(device), Discriminator(side, width).to(device)

    def look(x: Tensor, generator: torch.Generator) -> Tensor:
        return D(augment(x, generator) if augmented else x)

    def discriminator_loss(indices: list[int], generator: torch.Generator) -> Tensor:
        """- log D(x) - log(1 - D(G(z)))."""
        with torch.no_grad():
            drawn = G(draw_codes(len(indices), generator).to(device))
        real, fake = look(images[indices].to(device), generator), look(drawn, generator)
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator_loss(indices: list[int], generator: torch.Generator) -> Tensor:
        """- log D(G(z)), which does not saturate (Goodfellow et al. 2014)."""
        return F.softplus(-look(G(draw_codes(len(indices), generator).to(device)), generator)).mean()

    @torch.no_grad()
    def draw(seeds: Sequence[int]) -> Tensor:
        return G(codes_of(seeds, device))

    return Rival(nn.ModuleDict({"generator": G, "discriminator": D}),
                 {"generator": LEARNING, "discriminator": LEARNING},
                 [Phase("loss D", "discriminator", discriminator_loss), Phase("loss G", "generator", generator_loss)],
                 draw, averaged="generator", settle=lambda: settle(G, device))


@torch.no_grad()
def settle(generator: Generator, device: torch.device) -> None:
    """Give the batch norms the mean statistics of a fixed set of z. Those that training left are of other weights."""
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
    generator.train()
    codes = torch.Generator().manual_seed(0)
    for _ in range(STATISTICS_BATCHES):
        generator(draw_codes(STATISTICS_BATCH, codes).to(device))
    generator.eval()
