"""Image-oriented generation, Algorithm 1: noise real defect images to T' = sT and denoise them with guidance w.

    python sample.py --strength 0.4        # latest run -> runs/DATASET/CATEGORY/samples/*.png, manifest.csv

Each image has the size and mode of its source. It depends on its seed and its source alone, up to rounding in bfloat16.
The manifest says how novel it is.
"""
import argparse
from pathlib import Path

from stablesdg.app import runs
from stablesdg.app.command_line import add_common, add_model, announce, duration, parser, positive, run_main
from stablesdg.app.paths import sample_folder, split_file
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import sha256


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python sample.py --strength 0.4")
    add_model(p)
    p.add_argument("--data", type=Path, help="folder of source images (default: the run's; its training part)")
    p.add_argument("--out", metavar="NAME", help="folder for the images: a name in the run folder, or a path with a "
                                                 "slash, taken as it is (default: samples)")
    method = p.add_argument_group("method")
    method.add_argument("--strength", type=float,
                        help="s in (0, 1]; 0 sends the sources through the VAE and back, to compare with "
                             "(default: tune.py's choice, the recipe's, Table I's, or 0.4)")
    method.add_argument("--guidance", type=float, help="w (default: tune.py's choice, the recipe's, Table I's, or 5)")
    method.add_argument("--number", type=positive, default=100, help="images to make; the paper makes 1000")
    method.add_argument("--steps", type=positive,
                        help="denoising steps of a full run; s times these are run (default: those tune.py had, or 50)")
    method.add_argument("--sampler", choices=["ddim", "dpm", "ddpm", "paper"],
                        help="paper is Algorithm 1; dpm, DPM-Solver++(2M), needs a third of ddim's steps "
                             "(default: the one tune.py had, or ddim)")
    method.add_argument("--from-noise", action="store_true", help="start from pure noise instead of images (Table II)")
    method.add_argument("--classic", action="store_true", help="rotate and mirror the sources instead, to compare with")
    method.add_argument("--min-novelty", type=float, default=0.0,
                        help="draw images below this novelty again, up to 5 times, and leave out those that stay below")
    method.add_argument("--uncond", default="adapted", choices=["adapted", "base"],
                        help="the unconditional branch runs with the adapters or without")
    method.add_argument("--compat", choices=["diffusers"],
                        help="use the timesteps of diffusers' image-to-image pipeline")
    p.add_argument("--batch-size", type=positive, default=8,
                   help="images at once; in float32 this changes an image by one gray level at most")
    add_common(p.add_argument_group("run"))
    p.add_argument("--resume", action="store_true", help="keep the images that an interrupted run has finished")
    args = p.parse_args(argv)
    if args.strength is not None and not 0 <= args.strength <= 1:
        raise UserError(f"--strength must lie in [0, 1], not {args.strength:g}.")
    if args.from_noise and args.strength not in (None, 1):
        raise UserError(f"--from-noise starts from pure noise, at s = 1: leave out --strength {args.strength:g}.")
    if args.classic and (args.from_noise or args.strength is not None or args.guidance is not None):
        raise UserError("--classic uses no diffusion: leave out --strength, --guidance and --from-noise.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    folder = args.run or runs.latest_run()
    out = sample_folder(folder, args.out)
    announce("sample.py", folder, out)

    from stablesdg.app import devices, sampling
    from stablesdg.data import generated, split
    from stablesdg.evaluate import features, novelty

    settings = sampling.SamplingSettings(**vars(args))
    record = runs.require_run(folder)
    data = settings.data or Path(record["data"])
    generated.require_own_folder(out)
    manifest = split.load_split(split_file(data), [data])
    sources = split.part_files(manifest, data, "train")
    print(f"sources: the {len(sources)} training images of {data}")

    maker = sampling.open_classic() if settings.classic else sampling.open_diffusion(settings, folder, record)
    split.refuse_leak(maker.seen, manifest, f"The adapters in {folder}")
    depends_on = {"seed": settings.seed, "number": settings.number, "from_noise": settings.from_noise,
                  "classic": settings.classic, "min_novelty": settings.min_novelty, "data": str(data),
                  **maker.depends_on, "seen": sorted(maker.seen | {sha256(file) for file in sources})}
    if settings.resume and generated.is_finished(out, depends_on):
        print(f"the images in {out} are already finished; leave out --resume to make them again")
        return

    jobs = generated.list_jobs(sources, settings.number, settings.seed)
    images = generated.ImageSet(out, depends_on, settings.resume)
    meter = novelty.NoveltyMeter(features.load_nano_network(devices.pick_device(settings.device)), sources,
                                 split.surfaces_of(manifest, sources))
    seconds = sampling.make_images(jobs, maker, meter, images, settings)
    rows = images.finish(jobs)
    sampling.save_pictures(folder, out, rows, jobs, sources, maker)
    if maker.sd:
        arguments = {**vars(settings), "data": data, "strength": maker.depends_on["s"],
                     "guidance": maker.depends_on["w"], "sampler": maker.depends_on["sampler"],
                     "steps": maker.depends_on["steps"]}
        runs.record_sampling(folder, arguments, maker.sd, seconds)
    values = sorted(float(row["novelty"]) for row in rows)
    print(f"wrote {len(rows)} images to {out} in {duration(seconds)}; novelty {values[len(values) // 2]:.2f} (median; "
          f"0 is a copy of a training image, 1 as far as real ones of other surfaces are apart)")
    sampling.warn_of_novelty(values[len(values) // 2], maker)
    if len(rows) < len(jobs):
        print(f"{len(jobs) - len(rows)} images stayed below --min-novelty {settings.min_novelty:g} after "
              f"{sampling.MOST_TRIES} tries and were left out")


if __name__ == "__main__":
    run_main(main)
