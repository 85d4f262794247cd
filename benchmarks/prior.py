"""What weights/nano can do, on images that it never saw.

    python benchmarks/prior.py vae neu          # reconstruction: PSNR for each class, FD-nano beside its floor
    python benchmarks/prior.py yardstick neu    # FD-nano under blur, noise, JPEG and other classes mixed in
    python benchmarks/prior.py agreement neu    # does a network trained on ImageNet rank the same sets alike?
    python benchmarks/prior.py captions         # 64 images from captions; do the captions find their images?

neu is any folder of class folders. Pictures go to runs/benchmarks.
"""
import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from judges import floors_of, halves
from PIL import Image, ImageFilter
from scipy.stats import spearmanr
from torch import Tensor, nn

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.folders import list_categories, list_images
from stablesdg.data.images import read_fitted, read_image, save_image, to_image, to_tensor
from stablesdg.diffusion import ddim_step
from stablesdg.evaluate.frechet import frechet_distance
from stablesdg.evaluate.imagenet import ImageNetFeatures
from stablesdg.generation import estimate_noise, plan
from stablesdg.models.stable_diffusion import StableDiffusion, load_stable_diffusion
from stablesdg.prior.autoencoder import psnr
from stablesdg.prior.feature_network import NamingNetwork, load_naming_network
from stablesdg.prior.textures import ATTRIBUTES, Texture, draw
from stablesdg.report.pictures import image_grid
from stablesdg.report.thumbnails import evenly
from stablesdg.storage.errors import UserError
from stablesdg.weights.read import NANO

OUT = Path("runs/benchmarks")
HELD_OUT = 20_000_000  # textures from this index on had no part in pretraining

Images = list[Image.Image]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/prior.py vae neu")
    p.add_argument("what", choices=["vae", "yardstick", "agreement", "captions"])
    p.add_argument("data", nargs="?", type=Path, help="data set, for all but captions")
    p.add_argument("--number", type=positive, default=60, help="images a class; or captions")
    p.add_argument("--guidance", type=float, default=3.0, help="w, for captions")
    p.add_argument("--steps", type=positive, default=50, help="denoising steps, for captions")
    p.add_argument("--weights", default=str(NANO), help="the prior to look at")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.what != "captions" and not args.data:
        raise UserError(f"Which images? Pass a folder of class folders: prior.py {args.what} neu.")
    network = load_naming_network(Path(args.weights) / "features.safetensors")
    {"vae": vae, "yardstick": yardstick, "agreement": agreement, "captions": captions}[args.what](args, network)


@torch.no_grad()
def features(network: nn.Module, images: Sequence[Tensor]) -> Tensor:
    """Features (N, 128) of images (3, H, W) in [-1, 1] of one size."""
    return torch.cat([network(torch.stack(list(images[i:i + 16])) / 2 + 0.5) for i in range(0, len(images), 16)])


# ---- reconstruction ---------------------------------------------------------------------------------------------


@torch.no_grad()
def vae(args: argparse.Namespace, network: nn.Module) -> None:
    """Every class's images through the autoencoder and back: PSNR, and FD-nano beside its floor."""
    sd = load_stable_diffusion(args.weights)
    everything, pool = {"real": [], "plain": [], "noise": []}, []
    print("class  N   PSNR  with noise | FD-nano: reconstructed  with noise  floor (real against others, 10 draws)")
    shown = []
    for folder in list_categories(args.data):
        images = {file: read_fitted(file, None, sd.vae.factor).x for file in list_images(folder)}
        pool.append(features(network, list(images.values())))
        sets = {"real": [images[file] for file in halves(list(images), args.number)[0]], "plain": [], "noise": []}
        for k, x in enumerate(sets["real"]):
            mean, _ = sd.vae.encode(x[None])
            noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(k))
            for name, sigma in (("plain", 0.0), ("noise", 0.1)):
                y = sd.vae.decode(mean + sigma * noise / sd.vae.scaling_factor)[0].clamp(-1, 1)
                sets[name].append(((y + 1) * 127.5).round() / 127.5 - 1)  # as a file would hold it
        report(folder.name, sets, network, pool[-1:])
        shown += [[to_image(sets[name][0]).crop((0, 0, 100, 100)) for name in ("real", "plain", "noise")]]
        for name in everything:
            everything[name] += sets[name]
    report("all", everything, network, pool)
    save_image(OUT / "vae.png", image_grid([(label, [row[k] for row in shown]) for k, label in enumerate(
        ("real, 100 px of it", "reconstructed", "reconstructed with 0.1 sd of noise in the latents"))], cell=300))
    print(f"wrote {OUT / 'vae.png'}")


def report(name: str, sets: dict[str, list[Tensor]], network: nn.Module, pool: Sequence[Tensor]) -> None:
    """A row; pool holds the features of all real images of each class in it, for the floor."""
    x = torch.stack(sets["real"])
    db = [psnr(torch.stack(sets[key]), x) for key in ("plain", "noise")]
    f = {key: features(network, images) for key, images in sets.items()}
    d = [frechet_distance(f["real"], f[key]) for key in ("plain", "noise")]
    floors = floors_of(pool, len(x) // len(pool))
    floor, sd = float(np.mean(floors)), float(np.std(floors))
    print(f"{name:5} {len(x):3} {db[0]:6.1f} {db[1]:8.1f}    | {d[0]:10.3f} ({d[0] / floor:.2f} of the floor) "
          f"{d[1]:10.3f} ({d[1] / floor:.2f}) {floor:10.3f} +- {sd:.3f}", flush=True)


# ---- is FD-nano a yardstick? ------------------------------------------------------------------------------------


class DegradedSets(NamedTuple):
    """A row of the yardstick: real images of a class, and others of it, degraded more and more."""
    category: str
    label: str
    real: Images
    levels: list[Images]  # five


def degraded_sets(args: argparse.Namespace) -> Iterator[DegradedSets]:
    """All rows: each class, degraded in each way."""
    folders = list_categories(args.data)
    for c, folder in enumerate(folders):
        first, second = ([read_image(f)[0] for f in half] for half in halves(list_images(folder), args.number))
        other = folders[(c + 1) % len(folders)]
        strangers = [read_image(f)[0] for f in evenly(list_images(other), len(second))]
        for label, levels in {
            "blur, sigma 0 .5 1 2 4": [[blur(image, s) for image in second] for s in (0, 0.5, 1, 2, 4)],
            "noise, sd 0 4 8 16 32": [[noise(image, s, k) for k, image in enumerate(second)]
                                      for s in (0, 4, 8, 16, 32)],
            "JPEG, quality - 50 20 10 5": [[jpeg(image, q) for image in second] for q in (None, 50, 20, 10, 5)],
            f"share of {other.name}, 0 .1 .25 .5 1": [strangers[:n] + second[n:] for n in (
                round(q * len(second)) for q in (0, 0.1, 0.25, 0.5, 1))]}.items():
            yield DegradedSets(folder.name, label, first, levels)


def distances(network: nn.Module, real: Images, levels: Sequence[Images]) -> list[float]:
    """The Frechet distance of each set of images from the real ones."""
    reference, *others = (features(network, [to_tensor(image) for image in images]) for images in (real, *levels))
    return [frechet_distance(reference, f) for f in others]


def yardstick(args: argparse.Namespace, network: nn.Module) -> None:
    """Every class's real images against other real images of it, degraded more and more; each row should rise."""
    rising, total = 0, 0
    n = 0
    for name, label, real, levels in degraded_sets(args):
        d, n = distances(network, real, levels), len(real)
        good = all(a < b for a, b in zip(d, d[1:]))
        rising, total = rising + good, total + 1
        print(f"{name:4} {label:30} " + " ".join(f"{value:8.3f}" for value in d) + ("" if good else "   NOT rising"),
              flush=True)
    print(f"{rising} of {total} rows rise from step to step; N = {n} on both sides")


def agreement(args: argparse.Namespace, network: nn.Module) -> None:
    """The yardstick's sets by two networks that share nothing: rank correlation of their distances in each class."""
    judges, table = {"nano": network, "ImageNet": ImageNetFeatures()}, {}
    for name, label, real, levels in degraded_sets(args):
        d = {judge: distances(model, real, levels) for judge, model in judges.items()}
        for judge, values in d.items():
            known = table.setdefault(name, {}).setdefault(judge, [])
            known.extend(values[1:] if known else values)  # the first level of each row is the same, undegraded set
            rising = "" if values == sorted(values) else "   NOT rising"
            print(f"{name:4} {label:30} {judge:8} " + " ".join(f"{value:8.3f}" for value in values) + rising,
                  flush=True)
    for name, d in table.items():
        rho = spearmanr(d["nano"], d["ImageNet"])[0]
        print(f"{name:4} rank correlation of the two networks over {len(d['nano'])} sets: {rho:.3f}")


def blur(image: Image.Image, sigma: float) -> Image.Image:
    """The image behind a Gaussian of so many pixels."""
    return image.filter(ImageFilter.GaussianBlur(sigma)) if sigma else image


def noise(image: Image.Image, sd: float, seed: int) -> Image.Image:
    """The image with gray noise of so many gray levels."""
    x = to_tensor(image)
    grain = sd / 127.5 * torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))
    return to_image(x + grain)


def jpeg(image: Image.Image, quality: int | None) -> Image.Image:
    """The image as a JPEG file of this quality holds it. None leaves it as it is."""
    if quality is None:
        return image
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")


# ---- captions ---------------------------------------------------------------------------------------------------


def captions(args: argparse.Namespace, network: NamingNetwork) -> None:
    """Images from held-out captions, and how many of their attributes the network finds in them."""
    sd = load_stable_diffusion(args.weights)
    candidates = (draw(HELD_OUT + i, 0, sd.resolution) for i in range(2 * args.number))
    textures = [texture for texture in candidates if named(texture.caption)][:args.number]
    made = []
    for start in range(0, len(textures), 16):
        prompts = [texture.caption for texture in textures[start:start + 16]]
        made += from_captions(sd, prompts, args.guidance, args.steps, seed=start)
        print(f"{len(made)} of {len(textures)} images", flush=True)
    drawn = [to_tensor(Image.fromarray(texture.image)) for texture in textures]
    for label, images in (("drawn", drawn), ("generated", made)):
        report_captions(label, textures, features(network, images), network)
    rows = [("   |   ".join(t.caption.removeprefix("a photo of ") for t in textures[i:i + 4]),
             [to_image(x) for x in made[i:i + 4]]) for i in range(0, min(64, len(made)), 4)]
    for k in range(0, len(rows), 4):
        save_image(OUT / f"captions-{k // 4}.png", image_grid(rows[k:k + 4], cell=256))
    print(f"wrote {OUT}/captions-*.png")


@torch.no_grad()
def from_captions(sd: StableDiffusion, prompts: list[str], guidance: float, steps: int,
                  seed: int) -> list[Tensor]:
    """One image (3, H, W) in [-1, 1] from noise for each prompt, of the model's own size, by DDIM."""
    context, empty = sd.text.encode(prompts), sd.text.encode([""] * len(prompts))
    side = sd.resolution // sd.vae.factor
    shape = (len(prompts), sd.unet.conv_in.in_channels, side, side)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    for t, alpha_bar_t, alpha_bar_prev in plan(sd, 1.0, steps):
        eps_hat = estimate_noise(sd, z, t, context, empty, guidance, "adapted")
        z = ddim_step(z, eps_hat, alpha_bar_t, alpha_bar_prev)
    return list(sd.vae.decode(z / sd.vae.scaling_factor).clamp(-1, 1))


def report_captions(label: str, textures: list[Texture], f: Tensor, network: NamingNetwork) -> None:
    """Print how well images with features f (N, C) fit the captions of the textures.

    A caption ranks all images by how likely the network holds the attributes that it names. By chance its own image
    would be in its best tenth once in ten.
    """
    log_p = {name: logits.log_softmax(1) for name, logits in network.name(f).items()}
    own, hits = torch.zeros(len(f)), {name: [] for name in ATTRIBUTES}
    for i, texture in enumerate(textures):
        words = named(texture.caption)
        score = torch.stack([log_p[name][:, ATTRIBUTES[name].index(value)] for name, value in words.items()]).sum(dim=0)
        own[i] = (score > score[i]).float().mean()
        for name, value in words.items():
            hits[name].append(ATTRIBUTES[name][log_p[name][i].argmax()] == value)
    recognised = ", ".join(f"{name} {sum(h) / max(1, len(h)):.0%}" for name, h in hits.items())
    print(f"{label:9}: own image in a caption's best tenth {float((own < 0.1).float().mean()):.1%} (chance 10 %); "
          f"attribute recognised: {recognised}")


def named(caption: str) -> dict[str, str]:
    """{attribute: value} of what a caption says; the word dark or bright before a mark is its tone."""
    words = caption.split()
    values = {"base": next((w for w in words if w in ATTRIBUTES["base"]), None),
              "mark": next((w for w in words if w in ATTRIBUTES["mark"]), None),
              "tint": next((w for w in words if w in ATTRIBUTES["tint"]), None),
              "quantity": next((w for w in words if w in ATTRIBUTES["quantity"]), None)}
    before, _, after = caption.partition(" on ") if values["mark"] else ("", "", caption)
    values["tone"] = next((w for w in before.split() if w in ATTRIBUTES["tone"]), None)
    values["level"] = next((w for w in after.split() if w in ATTRIBUTES["level"]), None)
    return {name: value for name, value in values.items() if value} if values["base"] else {}


if __name__ == "__main__":
    run_main(main)
