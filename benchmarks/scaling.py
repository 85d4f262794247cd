"""How many GPUs are of use for one class, and for a thousand? Arithmetic for Stable Diffusion v1.5 at 512 px.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --tera-flops 100 --classes 50

Nothing is measured. The operations of a class and the rate of a GPU are those of README. A training step is shared out
among as many GPUs as a batch has images, and samples by whole batches. Gradients go around a ring, as NCCL sends them:
each GPU sends 2 (N - 1) / N of their bytes, in 2 (N - 1) messages.
"""
import argparse
import sys
from math import ceil
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stablesdg.app.command_line import parser, positive, rate, run_main
from stablesdg.recognise.costs import (
    BATCH_SIZE,
    DPM_IMAGES,
    EMBEDDING,
    IMAGES,
    ITERATIONS,
    LORA,
    STABLE_DIFFUSION,
    TERA_FLOP_PER_SECOND,
)

SAMPLING_BATCH = 8  # sample.py's
GRADIENTS = {"token embedding": 4 * 3 * 768, "LoRA, rank 1": 4 * 273_024, "--full": 4 * (859_520_964 + 123_060_480)}
LINKS = {"NVLink, 300 GB/s": (300e9, 10e-6), "100 Gbit/s between machines": (12.5e9, 50e-6)}  # bytes/s, s a message
WEIGHTS_GB = 4.3  # of Stable Diffusion v1.5
SIDE = 512  # pixels


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/scaling.py")
    p.add_argument("--tera-flops", type=rate, default=TERA_FLOP_PER_SECOND, help="TFLOP/s that a GPU sustains")
    p.add_argument("--classes", type=positive, default=1000, help="categories")
    p.add_argument("--storage", type=rate, default=10, help="GB/s that shared storage gives to all together")
    return p.parse_args(argv)


def class_seconds(gpus: int, tera_flops: float) -> tuple[float, float]:
    """(seconds of both trainings, seconds of the images) of one class, without what starting costs."""
    training = (STABLE_DIFFUSION[EMBEDDING][0] + STABLE_DIFFUSION[LORA][0]) * 1000 / tera_flops
    images = STABLE_DIFFUSION[DPM_IMAGES][0] * 1000 / tera_flops
    rounds, batches = ceil(BATCH_SIZE / gpus), ceil(IMAGES / SAMPLING_BATCH)  # the busiest GPU counts
    return training * rounds / BATCH_SIZE, images * ceil(batches / gpus) / batches


def ring_seconds(size: float, gpus: int, link: tuple[float, float]) -> float:
    """Seconds in which all GPUs know the sum of `size` bytes."""
    bandwidth, latency = link
    return 2 * (gpus - 1) * (size / gpus / bandwidth + latency)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    alone = sum(class_seconds(1, args.tera_flops))
    step = STABLE_DIFFUSION["LoRA"][0] * 1000 / args.tera_flops / ITERATIONS
    print(f"one class, {args.tera_flops:g} TFLOP/s, minutes")
    print(f"{'GPUs':>6} {'training':>9} {'images':>7} {'both':>7} {'faster':>7}")
    for gpus in (1, 2, 4, 8, 64, 1000):
        training, images = class_seconds(gpus, args.tera_flops)
        total = training + images
        print(f"{gpus:6} {training / 60:9.1f} {images / 60:7.1f} {total / 60:7.1f} {alone / total:6.1f}x")
    print(f"\ngradients of a step on {BATCH_SIZE} GPUs, beside {1000 * step / BATCH_SIZE:.0f} ms of computing")
    for name, size in GRADIENTS.items():
        times = ", ".join(f"{1000 * ring_seconds(size, BATCH_SIZE, link):.2f} ms by {by}"
                          for by, link in LINKS.items())
        print(f"  {name}: {size / 1e6:,.3f} MB, {times}")
    print(f"\n{args.classes} classes, one job each\n{'GPUs':>6} {'hours':>7}  minutes in which all read the weights")
    for gpus in (8, 64, 1000):
        hours = ceil(args.classes / gpus) * alone / 3600
        print(f"{gpus:6} {hours:7.1f}  {gpus * WEIGHTS_GB / args.storage / 60:.1f}")
    images = args.classes * IMAGES
    print(f"\n{images:,} images, {SIDE} px, gray: {images * SIDE**2 / 1e9:.0f} GB at most; adapters: "
          f"{args.classes * sum(list(GRADIENTS.values())[:2]) / 1e9:.1f} GB")


if __name__ == "__main__":
    run_main(main)
