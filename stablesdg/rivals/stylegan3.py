"""StyleGAN3: Karras et al. 2021, "Alias-Free Generative Adversarial Networks", configurations T and R.

    z            (B, 512)            Gaussian
    w            (B, 512)            mapping(z), which styles every layer
    x            (B, C_i, n_i, n_i)  signals from Fourier features on; stylegan3_filters.py says how fine each is
    image        (B, 3, side, side)  about [-1, 1]

Training: the non-saturating logistic loss, R1 every 16 steps, a moving average of the generator, and adaptive
augmentation (ada.py), against StyleGAN2's discriminator. Where we leave the paper:

    float32      so that there is no clamp at 256, and no scaling of weights against overflow
    start        the moving averages of magnitudes begin with measured values, not with 1, since our runs are short
    w's average  moves as slowly as those of the magnitudes
    p            of the augmentation may rise 25 times as quickly, and stops at 0.8
    R1's weight  (side / 256)^2, the paper's at 256 px for faces, and its rule of four times for twice the side
    config R     discriminators see no blurred images at the start

Files of NVIDIA's own networks are not read. They are pickles: to open one runs the code that it holds.
"""
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..diffusion import noise_source
from .ada import AdaptiveAugmentation
from .common import Learning, Phase, Rival
from .stylegan2_discriminator import Discriminator, EqualLinear, leaky_relu, r1_penalty
from .stylegan3_filters import CRITICAL_LAYERS, FilteredLeakyReLU, Signal, layer_signals

LATENT = 512  # numbers in z and in w
MAPPING_LAYERS, MAPPING_LR = 2, 0.01  # the rate relative to all others
LAYERS = 14
WIDTH = 512  # most channels
BASE = 64  # channels times cutoff, in units of half the width: the paper's 32768 / 512, of which 256 px have half
OUTPUT_SCALE = 0.25
EPS = 1e-8  # of all normalisations
AVERAGE_IMAGES = 20_000  # half-life of the moving averages of magnitudes and of w
WEIGHTS_SEED = 2 ** 40  # far from the seeds of z: weights from z's own seed would begin with z
START_BATCH = 8  # z from which these averages start
R1_STEPS = 16
GENERATOR_LEARNING = Learning(lr=0.0025, betas=(0.0, 0.99))
LAZY = R1_STEPS / (R1_STEPS + 1)  # R1 is an extra update each 16 steps (Karras et al. 2020, appendix B)
DISCRIMINATOR_LEARNING = Learning(lr=0.002 * LAZY, betas=(0.0, 0.99 ** LAZY))
BATCH_SIZE = 32
ADA_IMAGES = 20_000  # seen until p could rise from 0 to 1. The paper: 500,000 of its 25 million
MOST_SHIFT, EQUIVARIANCE_IMAGES = 1 / 8, 4  # of the width; images of a measurement of EQ-T


class Mapping(nn.Module):
    """z -> w, by fully connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(LATENT, LATENT, lr=MAPPING_LR) for _ in range(MAPPING_LAYERS))

    def forward(self, z: Tensor) -> Tensor:
        """(B, 512) -> (B, 512)"""
        x = z * (z.square().mean(dim=1, keepdim=True) + EPS).rsqrt()
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x


class FourierFeatures(nn.Module):
    """A field of waves that is turned and moved as w says, sampled where the first layer needs it (section 3).

    The frequencies are uniform in a disk of radius f_c, the phases uniform. Both stay as they were drawn.
    """

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        C, n = signal.channels, signal.size
        radius, angle = signal.cutoff * torch.rand(C).sqrt(), 2 * math.pi * torch.rand(C)
        at = (torch.arange(n) + 0.5 - n / 2) / signal.sampling_rate  # 1 is the side of the image, 0 its middle
        self.frequencies: Tensor
        self.phases: Tensor
        self.points: Tensor
        self.register_buffer("frequencies", torch.stack([radius * angle.cos(), radius * angle.sin()]))  # (2, C)
        self.register_buffer("phases", torch.rand(C))
        self.register_buffer("points", torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1), persistent=False)
        self.affine = EqualLinear(LATENT, 4)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.weight = nn.Parameter(torch.randn(C, C))

    def forward(self, w: Tensor, motion: Tensor | None = None) -> Tensor:
        """(B, 512) -> (B, C, n, n). motion (2, 3) says which point of the field is seen at (x, y, 1)."""
        t = self.affine(w)
        cos, sin, right, down = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        points = self.points if motion is None else self.points @ motion[:, :2].T + motion[:, 2]
        points = points - torch.stack([right, down], dim=1)[:, None, None]  # (B, n, n, 2)
        turn = torch.stack([cos, sin, -sin, cos], dim=1).reshape(-1, 1, 2, 2)  # its transpose, for rows
        waves = torch.sin(2 * math.pi * (points @ turn @ self.frequencies + self.phases))  # (B, n, n, C)
        return F.linear(waves, self.weight / math.sqrt(len(self.weight))).permute(0, 3, 1, 2)


def modulated_conv(x: Tensor, weight: Tensor, s: Tensor, demodulate: bool, gain: Tensor | float = 1.0) -> Tensor:
    """Convolve image b with gain * w', where w'_oi = s_bi w_oi / sqrt(sum_i,k (s_bi w_oik)^2), beyond the border too.

    Written as one convolution for all images, between two scalings of channels.

    x       (B, I, H, W)
    weight  (O, I, k, k)
    s       (B, I)
    -> (B, O, H + k - 1, W + k - 1)
    """
    x = F.conv2d(x * (s * gain)[:, :, None, None], weight, padding=weight.shape[-1] - 1)
    if not demodulate:
        return x
    norm = (s.square() @ weight.square().sum(dim=(2, 3)).T + EPS).rsqrt()  # (B, O)
    return x * norm[:, :, None, None]


class StyledConv(nn.Module):
    """A convolution whose weights follow w, on an input of magnitude 1, and a bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, demodulate: bool = True) -> None:
        super().__init__()
        self.affine = EqualLinear(LATENT, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.magnitude: Tensor  # moving average of E[x^2]
        self.register_buffer("magnitude", torch.ones(()))
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor, share: float = 0.0) -> Tensor:
        """(B, I, H, W), w (B, 512) -> (B, O, H + k - 1, W + k - 1). `share`: of this batch in the moving average."""
        if share:
            self.magnitude.lerp_(x.detach().square().mean(), share)
        s = self.affine(w)
        if not self.demodulate:
            s = s / math.sqrt(self.weight[0].numel())
        return modulated_conv(x, self.weight, s, self.demodulate, self.magnitude.rsqrt()) + self.bias[:, None, None]


class Generator(nn.Module):
    """z to images.

    side          of the images: a power of 2
    width, base   a layer with cutoff f_c has base * width / (2 f_c) channels, `width` at most
    rotation      config R: 1 x 1 convolutions, twice the channels, filters that are the same in all directions
    """

    def __init__(self, side: int, width: int = WIDTH, base: float = BASE, layers: int = LAYERS,
                 rotation: bool = False) -> None:
        super().__init__()
        width, kernel = (2 * width, 1) if rotation else (width, 3)
        *signals, image = layer_signals(side, layers, round(base * width), width)
        before = [signals[0], *signals[:-1]]
        self.side = side
        self.mapping, self.fourier = Mapping(), FourierFeatures(signals[0])
        self.convs = nn.ModuleList(StyledConv(a.channels, b.channels, kernel) for a, b in zip(before, signals))
        self.nonlinearities = nn.ModuleList(
            FilteredLeakyReLU(a, b, a.size + kernel - 1, rotation and i < layers - CRITICAL_LAYERS)
            for i, (a, b) in enumerate(zip(before, signals)))
        self.to_rgb = StyledConv(signals[-1].channels, image.channels, 1, demodulate=False)
        self.w_mean: Tensor
        self.register_buffer("w_mean", torch.zeros(LATENT))

    def forward(self, z: Tensor, truncation: float = 1.0, share: float = 0.0) -> Tensor:
        """(B, 512) -> (B, 3, side, side).

        truncation  below 1 draws w towards its mean: better images, less variety
        share       of this batch in the moving averages
        """
        w = self.mapping(z)
        if share:
            self.w_mean.lerp_(w.detach().mean(dim=0), share)
        return self.synthesis(self.w_mean.lerp(w, truncation), share=share)

    def synthesis(self, w: Tensor, motion: Tensor | None = None, share: float = 0.0) -> Tensor:
        """(B, 512) -> (B, 3, side, side). motion (2, 3) moves the Fourier features, in sides of the image."""
        x = self.fourier(w, motion)
        for conv, nonlinearity in zip(self.convs, self.nonlinearities):
            x = nonlinearity(conv(x, w, share))
        return OUTPUT_SCALE * self.to_rgb(x, w, share)


@torch.no_grad()
def translation_equivariance(generator: Generator, z: Tensor, seed: int = 0) -> float:
    """EQ-T in dB (section 3, eq. 3): how far image(moved Fourier features) is the moved image.

    10 log10(2^2 / E[(difference)^2]) over z (B, 512), each with its own move by whole pixels, up to an eighth of the
    width along both axes, and over the region that both show. 2 is the range of a pixel.
    """
    numbers, side = torch.Generator().manual_seed(seed), generator.side
    most = int(MOST_SHIFT * side)
    moves = torch.randint(-most, most + 1, (len(z), 2), generator=numbers).tolist()
    squares, count = 0.0, 0
    for w, (right, down) in zip(generator.mapping(z).split(1), moves):
        motion = torch.tensor([[1, 0, -right / side], [0, 1, -down / side]]).to(w)
        of_moved, image = generator.synthesis(w, motion), generator.synthesis(w)
        difference = inside(of_moved, right, down) - inside(image, -right, -down)
        squares, count = squares + float(difference.cpu().double().square().sum()), count + difference.numel()
    return 10 * math.log10(2 ** 2 * count / max(squares, 1e-30))


def inside(x: Tensor, right: int, down: int) -> Tensor:
    """The part of x (B, C, H, W) that is left after it moved: without its first rows, or without its last."""
    H, W = x.shape[2:]
    return x[:, :, max(down, 0):H + min(down, 0), max(right, 0):W + min(right, 0)]


def stylegan3(images: Tensor, *, width: int = WIDTH, base: float = BASE, layers: int = LAYERS, rotation: bool = False,
              gamma: float | None = None, truncation: float = 1.0, seed: int = 0,
              device: torch.device | str = "cpu") -> Rival:
    """StyleGAN3 for images (N, 3, side, side) in [-1, 1].

    width, base, layers, rotation  of the generator, see there. The discriminator's widths do not follow rotation
    gamma                          weight of R1 (None: (side / 256)^2)
    truncation                     of what is drawn
    seed                           of the weights at the start
    """
    side, device = images.shape[-1], torch.device(device)
    r1_weight = (side / 256) ** 2 if gamma is None else gamma
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(WEIGHTS_SEED + seed)
        G = Generator(side, width, base, layers, rotation).to(device)
        D = Discriminator(side, round(base * width), width).to(device)
        with torch.no_grad():  # each average becomes what this batch measures
            G(torch.randn(START_BATCH, LATENT).to(device), share=1.0)
    augmentation = AdaptiveAugmentation(ADA_IMAGES).to(device)
    fixed = noise_source(range(EQUIVARIANCE_IMAGES), (LATENT,), device)()

    def look(x: Tensor, generator: torch.Generator) -> Tensor:
        return D(augmentation(x, generator))

    def random_codes(number: int, generator: torch.Generator) -> Tensor:
        return torch.randn((number, LATENT), generator=generator).to(device)

    def discriminator_loss(indices: list[int], generator: torch.Generator) -> Tensor:
        """- log D(x) - log(1 - D(G(z)))."""
        with torch.no_grad():
            share = 1 - 0.5 ** (len(indices) / AVERAGE_IMAGES)
            drawn = G(random_codes(len(indices), generator), share=share)
        real, fake = look(images[indices].to(device), generator), look(drawn, generator)
        augmentation.observe(real)
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def r1_loss(indices: list[int], generator: torch.Generator) -> Tensor:
        """gamma / 2 * || d D(x) / d x ||^2 for the augmented images x, for R1_STEPS steps at once."""
        x = augmentation(images[indices].to(device), generator)
        return R1_STEPS * r1_weight / 2 * r1_penalty(D, x).mean()

    def generator_loss(indices: list[int], generator: torch.Generator) -> Tensor:
        """- log D(G(z)), which does not saturate."""
        return F.softplus(-look(G(random_codes(len(indices), generator)), generator)).mean()

    @torch.no_grad()
    def draw(seeds: Sequence[int]) -> Tensor:
        return G(noise_source(seeds, (LATENT,), device)(), truncation).clamp(-1, 1)

    return Rival(nn.ModuleDict({"generator": G, "discriminator": D, "augmentation": augmentation}),
                 {"generator": GENERATOR_LEARNING, "discriminator": DISCRIMINATOR_LEARNING},
                 [Phase("loss G", "generator", generator_loss), Phase("loss D", "discriminator", discriminator_loss),
                  Phase("R1", "discriminator", r1_loss, every=R1_STEPS)], draw, averaged="generator",
                 measure=lambda: {"p": float(augmentation.p), "r_t": float(augmentation.r_t),
                                  "EQ-T": translation_equivariance(G, fixed)})
