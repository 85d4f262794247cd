"""Image-oriented generation, Algorithm 1: noise real defect images to T' = sT and denoise them with guidance w.

    python sample.py --strength 0.4        # latest run -> runs/DATASET/CATEGORY/samples/*.png, manifest.csv

Each image has the size and mode of its source. It depends on its seed and its source alone, up to rounding.
The manifest says how novel it is.

    python sample.py --compose             # defects of the class on grounds of other surfaces, welded by the prior

Masks and boxes of composites lie beside them. docs/compose.md says more.
"""
import argparse
from pathlib import Path

from stablesdg.app import runs
from stablesdg.app.command_line import (
    Arguments,
    add_common,
    add_model,
    announce,
    finite,
    parser,
    positive,
    run_main,
)
from stablesdg.app.paths import run_folder, sample_folder
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import sha256
from stablesdg.storage.lock import alone_at, alone_in
from stablesdg.storage.torchrun import is_first, rank


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python sample.py --strength 0.4", many=True)
    add_model(p)
    p.add_argument("--data", type=Path, help="folder of source images (default: the run's; its training part)")
    p.add_argument("--out", metavar="NAME", help="folder for the images: a name in the run folder, or a path with a "
                                                 "slash, taken as it is (default: samples)")
    method = p.add_argument_group("method")
    method.add_argument("--strength", type=finite, nargs="+", metavar="S",
                        help="s in (0, 1]; 0 sends the sources through the VAE and back, to compare with; with two "
                             "numbers each image draws its s between them "
                             "(default: tune.py's choice, the recipe's, Table I's, or 0.4)")
    method.add_argument("--guidance", type=finite, help="w (default: tune.py's choice, the recipe's, Table I's, or 5)")
    method.add_argument("--untuned", action="store_true", help="leave tune.py's choice of s and w aside")
    method.add_argument("--number", type=positive, default=100, help="images to make; the paper makes 1000")
    method.add_argument("--steps", type=positive,
                        help="denoising steps of a full run; s times these are run (default: those tune.py had, or 50)")
    method.add_argument("--sampler", choices=["ddim", "dpm", "ddpm", "paper"],
                        help="paper is Algorithm 1; dpm, DPM-Solver++(2M), needs a third of ddim's steps "
                             "(default: the one tune.py had, or ddim)")
    method.add_argument("--from-noise", action="store_true", help="start from pure noise instead of images (Table II)")
    method.add_argument("--classic", action="store_true", help="rotate and mirror the sources instead, to compare with")
    method.add_argument("--from", dest="other", type=Path, metavar="FOLDER",
                        help="sources of another class of the data set; the manifest names it as source_class")
    method.add_argument("--min-novelty", type=finite, default=0.0,
                        help="give each image 5 tries to come above this novelty, and leave out those that do not")
    method.add_argument("--uncond", default="adapted", choices=["adapted", "base"],
                        help="the unconditional branch runs with the adapters or without")
    method.add_argument("--compat", choices=["diffusers"],
                        help="use the timesteps of diffusers' image-to-image pipeline")
    add_compose(p.add_argument_group("composition: two real images make one"))
    p.add_argument("--batch-size", type=positive, default=8,
                   help="images at once; in float32 this changes an image by one gray level at most")
    add_common(p.add_argument_group("run"))
    p.add_argument("--resume", action="store_true", help="keep the images that an interrupted run has finished")
    args = p.parse_args(argv)
    return check(args)


def add_compose(group: Arguments) -> None:
    """What --compose takes."""
    group.add_argument("--compose", action="store_true",
                       help="lay the defect of a source on a ground of another surface; the prior redraws a part; "
                            "--strength 0 pastes alone")
    group.add_argument("--region", default="seam", choices=["seam", "outside", "inside"],
                       help="what the prior redraws: a band around the defect, all around it, or the defect")
    group.add_argument("--ground", type=Path, help="folder of defect-free images (default: other images of the class)")
    group.add_argument("--masks", type=Path, help="folder of PNG files named as the sources, white where the defect is "
                                                  "(default: defects are sought)")
    group.add_argument("--boxes", type=Path, help="folder of VOC xml or YOLO txt files named as the sources, or a COCO "
                                                  "json file")
    group.add_argument("--box-class", metavar="NAME", help="take only boxes of this class")


def check(args: argparse.Namespace) -> argparse.Namespace:
    """Refuse options that contradict each other. A range of strengths becomes strength and strength_high."""
    strengths = args.strength or []
    if len(strengths) > 2:
        raise UserError("--strength takes one number, or two that each image draws between.")
    low = strengths[0] if strengths else None
    high = strengths[1] if len(strengths) == 2 else None
    args.strength, args.strength_high = low, high
    for s in (low, high):
        if s is not None and not 0 <= s <= 1:
            raise UserError(f"--strength must lie in [0, 1], not {s:g}.")
    if low is not None and high is not None and not 0 < low < high:
        raise UserError(f"--strength {low:g} {high:g} is no range: the first must be above 0 and below the second.")
    if args.from_noise and args.strength not in (None, 1):
        raise UserError(f"--from-noise starts from pure noise, at s = 1: leave out --strength {args.strength:g}.")
    if args.classic and (args.from_noise or args.strength is not None or args.guidance is not None):
        raise UserError("--classic uses no diffusion: leave out --strength, --guidance and --from-noise.")
    if args.other and (args.data or args.from_noise or args.classic or args.compose):
        raise UserError("--from sets the sources of image-oriented generation: leave out --data, --from-noise, "
                        "--classic and --compose.")
    if args.compose and (args.from_noise or args.classic):
        raise UserError("--compose starts from real images: leave out --from-noise and --classic.")
    if args.masks and args.boxes:
        raise UserError("--masks and --boxes both say where the defects are: pass one of them.")
    if args.box_class and not args.boxes:
        raise UserError("--box-class takes the boxes of one class: pass --boxes, too.")
    unused = {"--sampler": args.sampler, "--steps": args.steps, "--compat": args.compat,
              "--uncond": args.uncond != "adapted", "--adapters": args.adapters != "all"}
    if args.classic and (given := [name for name, value in unused.items() if value]):
        raise UserError(f"{given[0]} has no effect on --classic, which uses no diffusion: leave it out.")
    alone = {"--ground": args.ground, "--masks": args.masks, "--boxes": args.boxes, "--box-class": args.box_class,
             "--region": args.region != "seam"}
    if not args.compose and (given := [name for name, value in alone.items() if value]):
        raise UserError(f"{given[0]} belongs to --compose: pass that, too.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    folder = run_folder(args.data) if needs_no_run(args) else args.run or runs.latest_run()
    out = sample_folder(folder, args.out)
    announce("sample.py", folder, out)
    with alone_in(folder), alone_at(out):
        make_images(args, folder, out)


def needs_no_run(args: argparse.Namespace) -> bool:
    """Whether --data is enough, because images are made without the prior: rotated and mirrored, or pasted."""
    return bool(args.data) and not args.run and (args.classic or (args.compose and args.strength == 0))


def make_images(args: argparse.Namespace, folder: Path, out: Path) -> None:
    """Make the images of a run folder and put them into `out`."""
    from stablesdg.app import composing, devices, processes, sampling, sources
    from stablesdg.data import folders, generated, split
    from stablesdg.evaluate import features, novelty

    processes.start()
    settings = sampling.SamplingSettings(**vars(args))
    record = {} if needs_no_run(args) else runs.require_run(folder)
    data = settings.data or Path(record["data"])
    generated.require_own_folder(out)
    real, composer = sources.find_real_images(data, settings.other, settings.compose, settings.ground), None
    if settings.compose:
        composer, real = composing.open_composer(settings, real)

    if composer:
        maker = composing.open_compose(settings, folder, record, composer)
    else:
        maker = sampling.open_classic() if settings.classic else sampling.open_diffusion(settings, folder, record)
    split.refuse_leak(maker.seen, real.split, f"The adapters in {folder}")
    depends_on = {"seed": settings.seed, "number": settings.number, "from_noise": settings.from_noise,
                  "classic": settings.classic, "min_novelty": settings.min_novelty, "data": folders.name_of(data),
                  **maker.depends_on,
                  "seen": sorted(maker.seen | {sha256(file) for file in [*real.sources, *real.grounds]})}
    if settings.resume and generated.is_finished(out, depends_on):
        print(f"the images in {out} are already finished; leave out --resume to make them again")
        return

    jobs = generated.list_jobs(real.sources, settings.number, settings.seed)
    with processes.first_alone():
        images = generated.ImageSet(out, depends_on, settings.resume or not is_first(), rank())
    meter = novelty.NoveltyMeter(features.load_nano_network(devices.pick_device(settings.device)),
                                 real.compared, split.surfaces_of(real.split, real.compared))
    seconds = sampling.make_images(jobs, maker, meter, images, batch_size=settings.batch_size,
                                   from_noise=settings.from_noise, min_novelty=settings.min_novelty)
    if not is_first():
        return
    if composer:
        composing.save_labels(images, jobs, data.resolve().name)
    rows = images.write_manifest(jobs)
    sampling.save_extremes(folder, images, rows, real.compared)
    if composer:
        composing.save_preview(folder, images, rows, jobs, composer, maker.label)
        composing.report_seams(rows)
    else:
        sampling.save_preview(folder, images, rows, jobs, maker)
    if maker.sd:
        arguments = {**vars(settings), "run": folder, "data": data, "strength": maker.depends_on["s"],
                     "guidance": maker.depends_on["w"], "sampler": maker.depends_on["sampler"],
                     "steps": maker.depends_on["steps"]}
        runs.record_sampling(folder, arguments, maker.sd, seconds)
    images.put_in_place()
    sampling.say_novelty(
        rows, out, seconds, "raise --strength, or pass --min-novelty 0.5" if maker.sd and maker.depends_on["s"] else "",
        "lower --strength or --guidance, train for more --iterations, and look at the previews before you use them")
    if len(rows) < len(jobs):
        print(f"{len(jobs) - len(rows)} images stayed below --min-novelty {settings.min_novelty:g} after "
              f"{sampling.MOST_TRIES} tries and were left out")


if __name__ == "__main__":
    run_main(main)
