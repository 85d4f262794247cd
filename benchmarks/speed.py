"""How fast is this package, beside what users would run otherwise?

    pip install diffusers peft pytorch-fid
    python benchmarks/speed.py                               # the small prior, 200 px; minutes
    python benchmarks/speed.py lora sample --full-size       # Stable Diffusion v1.5's sizes, random weights; 10 GiB

Each kind of work is done in turns, once by each contender in every round, so that a busy machine slows all alike. The
median of the rounds counts. The first round only warms up, and tells the memory that the work takes beside the models.
The peers are diffusers and peft, in the form of their training scripts and pipeline, and pytorch-fid. Ratios are the
peer's figure over ours in time, and ours over the peer's in memory.

    lora      one training step of rank 1, a batch of images
    ti        one training step of a token's embedding, a batch of images
    sample    image to image with a LoRA, a batch, every step that the strength leaves
    fid       two folders of drawn images, features not known before, random weights of Inception
    features  the small feature network; no peer
    overlap   the search for overlaps in one class of drawn images; no peer
    share     arithmetic of UNet and Inception a second, as a share of that of a large matrix product in the same format
    compile   the UNet compiled by torch.compile, in the peer's column, beside itself; and how long compiling takes
    help      python SCRIPT --help, beside python -c "import torch"
"""
import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import peers
import torch
from PIL import Image
from speed_rows import MATMUL_SIDE, SpeedSettings, compare, matmul_rate, print_share
from torch import Tensor, nn

from stablesdg import generate, lora
from stablesdg.app.command_line import add_device, parser, positive, run_main
from stablesdg.app.devices import pick_device, pick_dtype
from stablesdg.data.images import to_tensor
from stablesdg.data.overlap import find_overlaps
from stablesdg.evaluate.extract import extract_features, resize_for_inception
from stablesdg.evaluate.features import load_nano_network
from stablesdg.evaluate.frechet import frechet_distance
from stablesdg.evaluate.inception import FIDInception
from stablesdg.models.stable_diffusion import StableDiffusion, build, load_stable_diffusion
from stablesdg.models.unet import UNet
from stablesdg.models.vae import VAE
from stablesdg.prior.textures import draw
from stablesdg.text import TextEncoder
from stablesdg.train import denoising_loss, draw_batch, generator_for
from stablesdg.weights.read import NANO

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "A photo of <unknown>"
SCRIPTS = ("train_ti.py", "train_lora.py", "tune.py", "sample.py", "fid.py", "classify.py", "expand.py")
FIRST_TEXTURE = 60_000_000  # nothing else in the project has drawn these


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/speed.py lora sample --rounds 7")
    p.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)} (default: all)")
    p.add_argument("--weights", type=Path, default=NANO, help="diffusers folder")
    p.add_argument("--full-size", action="store_true", help="random weights in the sizes of Stable Diffusion v1.5")
    p.add_argument("--side", type=positive, help="pixels (default: 200, or 256 with --full-size)")
    p.add_argument("--batch-size", type=positive, default=4, help="images in a step")
    p.add_argument("--steps", type=positive, default=20, help="of a full run of sampling")
    p.add_argument("--strength", type=float, default=0.5, help="s")
    p.add_argument("--guidance", type=float, default=6.0, help="w")
    p.add_argument("--images", type=positive, default=32, help="in each folder of fid, and for features and overlap")
    p.add_argument("--rounds", type=positive, default=5, help="that count")
    p.add_argument("--threads", type=positive, help="of PyTorch (default: its own choice)")
    p.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                   help="cpu counts this process alone, for machines that others use")
    p.add_argument("--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="float32",
                   help="of our UNet and of all models of the peer; auto is what the scripts choose")
    add_device(p)
    args = p.parse_args(argv)
    if strange := set(args.sections) - set(SECTIONS):
        p.error(f"there is no {min(strange)}: there are {', '.join(SECTIONS)}")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = SpeedSettings(
        args.sections or list(SECTIONS), args.weights, args.full_size, args.side or (256 if args.full_size else 200),
        args.batch_size, args.steps, args.strength, args.guidance, args.images, args.rounds, pick_device(args.device),
        pick_dtype(args.dtype, pick_device(args.device)), time.perf_counter if args.clock == "wall" else
        time.process_time)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "peft", "pytorch-fid"))
    where = torch.cuda.get_device_name() if settings.device.type == "cuda" else platform.processor() or "processor"
    print(f"{versions}; {where}, {torch.get_num_threads()} threads, "
          f"{str(settings.dtype).removeprefix('torch.')}, {args.clock} time, "
          f"{settings.rounds} rounds")
    print(f"products of {MATMUL_SIDE} x {MATMUL_SIDE} matrices: {matmul_rate(settings) / 1e9:.0f} GFLOP/s\n")
    print(f"{'work':44} {'ours':>9} {'peer':>9} {'ratio':>6} {'ours':>7} {'peer':>7} MiB {'ratio':>6}")
    for name in settings.sections:
        SECTIONS[name](settings)


# ---- the work ---------------------------------------------------------------------------------------------------


def open_both(settings: SpeedSettings, rank: int | None) -> tuple[StableDiffusion, Any]:
    """(our models, their pipeline), with the same weights. With a rank, theirs have a LoRA."""
    if not settings.full_size:
        pipe = peers.open_pipeline(settings.weights, settings.device, settings.dtype, rank)
        sd = load_stable_diffusion(settings.weights, settings.device, settings.dtype)
    else:
        pipe = peers.random_pipeline(NANO / "tokenizer", settings.device, settings.dtype, None)
        unet, vae = build(UNet), build(VAE)
        unet.load_state_dict(pipe.unet.state_dict(), assign=True)  # the same memory
        vae.load_state_dict(pipe.vae.state_dict(), assign=True)
        text = TextEncoder(pipe.tokenizer, type(pipe.text_encoder)(pipe.text_encoder.config))
        sd = StableDiffusion(text, unet, vae, dict(pipe.scheduler.config), "random", {}, settings.device,
                             settings.dtype)
        pipe = peers.prepare(pipe, rank)
    return sd, pipe


def compare_lora(settings: SpeedSettings) -> None:
    """One step of training a LoRA."""
    sd, pipe = open_both(settings, 1)
    x = drawn_batch(sd, settings)
    layers = lora.inject(sd, rank=1)
    compare(f"LoRA step, {x.shape[-1]} px, batch {len(x)}",
            training_step(sd, x, [p for layer in layers.values() for p in (layer.A, layer.B)]),
            peers.lora_step(pipe, x.to(settings.device, settings.dtype), PROMPT), settings)


def compare_embedding(settings: SpeedSettings) -> None:
    """One step of training a token's embedding."""
    sd, pipe = open_both(settings, None)
    x = drawn_batch(sd, settings)
    v_d = sd.text.set_vectors("<unknown>", sd.text.pretrained_vectors("<unknown>"))
    compare(f"TI step, {x.shape[-1]} px, batch {len(x)}", training_step(sd, x, [v_d]),
            peers.embedding_step(pipe, x.to(settings.device, settings.dtype), PROMPT), settings)


def drawn_batch(sd: StableDiffusion, settings: SpeedSettings) -> Tensor:
    """(B, 3, side, side), in a size that the VAE takes."""
    side = settings.side // sd.vae.factor * sd.vae.factor
    return torch.stack([to_tensor(image) for image in drawn(settings.batch_size, side)])


def training_step(sd: StableDiffusion, x: Tensor, parameters: list[nn.Parameter]) -> Callable[[], None]:
    """One step of stablesdg.train.adapt, on images x that were encoded before."""
    with torch.no_grad():
        posterior = sd.vae.encode(x.to(sd.device))
    posteriors = [type(posterior)(mean.cpu(), logvar.cpu()) for mean, logvar in zip(*posterior)]
    optimiser = torch.optim.Adam(parameters, lr=1e-4)

    def step() -> None:
        generator = generator_for(0, 1)
        t = torch.randint(0, len(sd.alpha_bar), (len(x),), generator=generator)
        z_0, eps = draw_batch(sd, posteriors, range(len(x)), generator)
        loss = denoising_loss(sd, z_0, sd.text.encode([PROMPT]), t, eps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def compare_sampling(settings: SpeedSettings) -> None:
    """Images from images."""
    sd, pipe = open_both(settings, 1)
    lora.inject(sd, rank=1)
    side = settings.side // sd.vae.factor * sd.vae.factor
    images = drawn(settings.batch_size, side)
    x = torch.stack([to_tensor(image) for image in images])

    def ours() -> None:
        generate(sd, x, range(len(x)), PROMPT, strength=settings.strength, guidance=settings.guidance,
                 steps=settings.steps)

    compare(f"image to image, {side} px, batch {len(x)}, {round(settings.strength * settings.steps)} steps", ours,
            peers.image_to_image(pipe, images, PROMPT, settings.strength, settings.guidance, settings.steps), settings)


def compare_fid(settings: SpeedSettings) -> None:
    """FID from files to number, features not known before."""
    torch.manual_seed(0)
    state = FIDInception().state_dict()

    with tempfile.TemporaryDirectory() as name:
        folders = (Path(name) / "real", Path(name) / "generated")
        for k, folder in enumerate(folders):
            folder.mkdir()
            for i, image in enumerate(drawn(settings.images, settings.side, k * settings.images)):
                image.save(folder / f"{i}.png")

        def ours() -> float:
            network = FIDInception()
            network.load_state_dict(state)
            network.to(settings.device).eval()
            sides = [torch.cat([f.cpu() for f in extract_features(sorted(folder.iterdir()), network,
                                                                  resize_for_inception, 16, "")]) for folder in folders]
            return frechet_distance(*sides)

        compare(f"FID, {settings.images} against {settings.images} images", ours,
                peers.fid(folders, state, settings.device), settings)


@torch.no_grad()
def time_features(settings: SpeedSettings) -> None:
    """The small feature network."""
    network = load_nano_network(settings.device)
    x = torch.rand(settings.images, 3, settings.side, settings.side, device=settings.device)
    compare(f"nano features, {settings.images} images of {settings.side} px",
            lambda: [network(part) for part in x.split(8)], None, settings)


def time_overlaps(settings: SpeedSettings) -> None:
    """Crops of drawn textures, three of each."""
    rng, images = np.random.default_rng(0), []
    for ground in drawn(-(-settings.images // 3), 2 * settings.side):
        for y, x in rng.integers(0, settings.side, (3, 2)):
            images.append(np.asarray(ground.convert("L"))[y:y + settings.side, x:x + settings.side])
    images = images[:settings.images]
    compare(f"overlaps, {len(images)} images of {settings.side} px", lambda: find_overlaps(images), None, settings)


@torch.no_grad()
def time_shares(settings: SpeedSettings) -> None:
    """One pass of the UNet, with both branches of guidance, and one of Inception."""
    name = str(settings.dtype).removeprefix("torch.")
    print_share(f"UNet, {settings.side} px, batch {2 * settings.batch_size}, {name}", unet_pass(settings)[1],
                settings.dtype, settings)
    network = FIDInception().to(settings.device).eval()
    x = torch.rand(settings.batch_size, 3, 299, 299, device=settings.device)
    print_share(f"Inception, batch {len(x)}, float32", lambda: network(x), torch.float32, settings)


@torch.no_grad()
def compare_compiled(settings: SpeedSettings) -> None:
    """One pass of the UNet as it is, and compiled."""
    ours, (unet, compiled) = unet_pass(settings)[1], unet_pass(settings)
    unet.compile()
    start = time.perf_counter()
    compiled()
    print(f"compiling the UNet took {time.perf_counter() - start:.0f} seconds")
    compare(f"UNet, {settings.side} px, batch {2 * settings.batch_size}; compiled", ours, compiled, settings,
            theirs=False)


def unet_pass(settings: SpeedSettings) -> tuple[UNet, Callable[[], Tensor]]:
    """(UNet, one evaluation of it for a batch with both branches of guidance)."""
    sd, _ = open_both(settings, None)
    side = settings.side // sd.vae.factor
    z = torch.randn(2 * settings.batch_size, sd.unet.conv_in.in_channels, side, side, device=settings.device)
    context = sd.text.encode([PROMPT]).expand(len(z), -1, -1).to(settings.dtype)
    t = torch.tensor(500, device=settings.device)
    return sd.unet, lambda: sd.unet(z.to(settings.dtype), t, context)


def time_help(settings: SpeedSettings) -> None:
    """--help of the scripts, beside the import that all of them need later."""
    def run(*command: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    settings = replace(settings, clock=time.perf_counter)  # another process does the work
    for script in SCRIPTS:
        compare(f"{script} --help, beside import torch", run(script, "--help"), run("-c", "import torch"), settings)


def drawn(n: int, side: int, first: int = 0) -> list[Image.Image]:
    """Drawn textures."""
    return [Image.fromarray(draw(FIRST_TEXTURE + first + i, side=side).image) for i in range(n)]


SECTIONS = {"lora": compare_lora, "ti": compare_embedding, "sample": compare_sampling, "fid": compare_fid,
            "features": time_features, "overlap": time_overlaps, "share": time_shares, "compile": compare_compiled,
            "help": time_help}

if __name__ == "__main__":
    run_main(main)
