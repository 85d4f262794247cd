"""Do generated images pay? Classifiers with few real images, with and without generated ones, and where a gain is from.

    python benchmarks/pays.py neu --per-class 20 --draws 5 --seeds 2 --curve 250 500 1000 2000   # how many steps?
    python benchmarks/pays.py neu --per-class 5 10 20 40 --draws 5 --seeds 2 --steps 1000
    python benchmarks/pays.py tiles --surfaces 2 4 6 --ground Free

A draw is what a user with few images has: k images a class for training, half as many for validation. Half of all
surfaces are for testing, the same in all draws (pays_draws.py). Each draw becomes a data set of its own, and the
project's own command lines do everything on it. Its adapters and generated images are made once, for all arms.

All arms of pays_arms.py take the same number of steps, the same strong augmentation, averaged weights and balanced
classes, unless they say otherwise. --curve comes first: it measures, on validation images alone, how many steps the arm
"real" needs until it stops improving, or those of --arms. What is finished is not run again. The files summary.txt and
results.csv grow arm by arm.

The arm pretrain-on-drawn is trained twice, with as many steps each time: first on drawn textures, then on real images.
No other arm has the first training.
"""
import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jobs import ROOT, Job, keep_settings, run
from pays_arms import ARMS, DRAWN, PaysSettings, all_jobs, draw_name, draws
from pays_draws import draw_parts, draw_textures, find_regimes, make_draw
from pays_summary import curve_lines, read_seconds, summarise

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.folders import list_categories
from stablesdg.data.split import load_split
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import write_csv
from stablesdg.storage.runs import runs_root

GENERATION_SETTINGS = ("data", "weights", "iterations", "number", "sampling_steps", "ground", "masks", "share",
                       "upright", "paper_epochs")  # those that must not change within a work folder


# ---- the command line -------------------------------------------------------------------------------------------


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/pays.py neu --per-class 20 --draws 5 --seeds 2 --steps 1000")
    p.add_argument("data", type=Path, help="data set: a folder with one folder of images for each class")
    real = p.add_argument_group("real images")
    real.add_argument("--per-class", type=positive, nargs="*", default=[], help="training images a class, several ks")
    real.add_argument("--surfaces", type=positive, nargs="*", default=[], help="or training surfaces a class")
    real.add_argument("--rare", nargs=2, action="append", default=[], metavar=("CLASS", "N"),
                      help="a class with N training images beside others with many; may be given again")
    real.add_argument("--draws", type=positive, default=5, help="of surfaces, in each regime")
    made = p.add_argument_group("generated images")
    made.add_argument("--iterations", type=positive, default=150, help="of each training stage")
    made.add_argument("--number", type=positive, default=100, help="images a class, in each set")
    made.add_argument("--sampling-steps", type=positive, default=25, help="of a full run, by DPM-Solver++")
    made.add_argument("--ground", metavar="CLASS", help="class of defect-free images, for composites")
    made.add_argument("--masks", type=Path, help="folder with one folder of masks for each class, for composites")
    made.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    trained = p.add_argument_group("classifiers")
    trained.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], help="default: all",
                         metavar="ARM")
    trained.add_argument("--seeds", type=positive, default=2, help="trainings of each arm on each draw")
    trained.add_argument("--network", default="squeezenet", choices=["alexnet", "vgg", "resnet", "squeezenet",
                                                                     "densenet"], help="as classify.py takes it")
    trained.add_argument("--pretrained", type=Path, help="torchvision state dict to start from")
    trained.add_argument("--steps", type=positive, default=1000, help="optimiser steps, equal in all arms")
    trained.add_argument("--side", type=positive, default=96, help="of the images, in pixels")
    trained.add_argument("--share", type=float, default=0.5, help="of generated images among those that are shown")
    trained.add_argument("--upright", action="store_true", help="no quarter turns")
    trained.add_argument("--paper-epochs", type=positive, default=50, help="of the paper's own protocol")
    work = p.add_argument_group("work")
    work.add_argument("--curve", type=positive, nargs="+", default=[], metavar="STEPS",
                      help="train with each of these numbers of steps, the arm real alone if there is no --arms, and "
                           "show accuracies on validation images")
    work.add_argument("--dry-run", action="store_true", help="only show what would run")
    work.add_argument("--summary", action="store_true", help="only show what there is")
    work.add_argument("--out", type=Path, help="default: runs/benchmarks/pays/DATASET")
    return p.parse_args(argv)


def resolve(args: argparse.Namespace) -> PaysSettings:
    """Raises UserError for a class that is not there, or where nothing says how many real images there are."""
    data = args.data.resolve()
    classes = [folder.name for folder in list_categories(data)]
    for name in (*(name for name, _ in args.rare), *([args.ground] if args.ground else [])):
        if name not in classes:
            raise UserError(f"{data} has no class {name}: it has {', '.join(classes)}.")
    if bad := [n for _, n in args.rare if not n.isdigit() or int(n) < 1]:
        raise UserError(f"--rare takes a class and a number of images, not {bad[0]}.")
    regimes = find_regimes(args.per_class, args.surfaces, [(name, int(n)) for name, n in args.rare])
    if not regimes:
        raise UserError("Say how many real images there are: --per-class 20, --surfaces 4 or --rare CLASS 5.")
    own = {name: value for name, value in vars(args).items()
           if name not in ("per_class", "rare", "surfaces", "dry_run", "summary")}
    own["out"] = args.out or Path("runs/benchmarks/pays") / data.name
    wanted = args.arms or ["real" if args.curve else arm.name for arm in ARMS]
    arms = tuple(arm for arm in ARMS if arm.name in wanted)
    absolute = {name: value.resolve() for name, value in own.items() if isinstance(value, Path)}
    return PaysSettings(**{**own, **absolute, "regimes": tuple(regimes), "arms": arms, "curve": tuple(args.curve)})


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    settings = resolve(args)
    if args.summary:
        write_summary(settings)
    elif args.dry_run:
        jobs = [job for regime, draw in draws(settings) for job in all_jobs(settings, regime, draw)]
        say_dry_run(list(dict.fromkeys(jobs)), read_seconds(settings.out))
    else:
        keep_settings(settings.out, {name: getattr(settings, name) for name in GENERATION_SETTINGS})
        run_all(settings)


# ---- doing it ---------------------------------------------------------------------------------------------------


def run_all(settings: PaysSettings) -> None:
    """Run what is not finished. An arm that fails is told at the end, and the others go on."""
    split = load_split(runs_root() / settings.data.name / "split.json", list_categories(settings.data), "group")
    failed: list[UserError] = []
    if any(arm.from_drawn for arm in settings.arms):
        draw_textures(settings.out / "data" / DRAWN, settings.out / "runs" / DRAWN / "split.json")
    for regime, draw in draws(settings):
        name, parts = draw_name(regime, draw), draw_parts(split["files"], regime, draw)
        make_draw(settings.out / "data" / name, settings.out / "runs" / name / "split.json", settings.data, split,
                  parts)
        print(f"{name}: " + ", ".join(f"{n} {part}" for part, n in Counter(parts.values()).items()), flush=True)
        for job in all_jobs(settings, regime, draw):
            try:
                run_timed(settings, job, name)
            except UserError as error:
                if not job.seeds:
                    raise
                print(f"FAILED: {error}", flush=True)
                failed.append(error)
            if job.seeds:
                write_summary(settings, quiet=True)
    write_summary(settings)
    if failed:
        raise UserError(f"{len(failed)} classifiers failed, and the summary lacks them; the first: {failed[0]}")


def run_timed(settings: PaysSettings, job: Job, draw: str) -> None:
    """Run a command unless it is finished. Its seconds go into seconds.csv."""
    times = job.missing()
    if seconds := run(job, settings.out, f"{draw}:"):
        rows = [*read_seconds(settings.out), (draw, job.kind, times, round(seconds, 1))]
        write_csv(settings.out / "seconds.csv", ("draw", "kind", "times", "seconds"), rows)


def say_dry_run(jobs: Sequence[Job], known: Sequence[tuple[str, str, int, float]]) -> None:
    """Print each kind of command that is not finished: how often, how long by what was measured, and its first one."""
    todo = [job for job in jobs if job.missing()]
    total, unknown = 0.0, False
    print(f"{'calls':>6} {'trainings':>9} {'minutes':>8}  kind: the first command")
    for kind in dict.fromkeys(job.kind for job in todo):
        own = [job for job in todo if job.kind == kind]
        times = sum(job.missing() for job in own)
        measured = [row for row in known if row[1] == kind]
        minutes = times * sum(row[3] for row in measured) / sum(row[2] for row in measured) / 60 if measured else None
        total, unknown = total + (minutes or 0.0), unknown or minutes is None
        said = "?" if minutes is None else f"{minutes:.1f}"
        trainings = times if own[0].seeds else ""
        print(f"{len(own):6} {trainings:>9} {said:>8}  {kind}: python "
              f"{' '.join(map(str, own[0].command))}")
    print(f"{len(todo)} of {len(jobs)} commands are not finished; {total:.0f} minutes"
          + (", and those of unknown ones" if unknown else "") + ", by seconds.csv of this folder")


def write_summary(settings: PaysSettings, quiet: bool = False) -> None:
    """Write summary.txt and results.csv, or show the curve of --curve."""
    if settings.curve:
        lines = curve_lines(settings.out, settings.regimes, settings.training("*"), settings.network,
                            [arm.name for arm in settings.arms])
    else:
        lines = summarise(settings.out, settings.regimes, settings.training(settings.steps), settings.network,
                          [arm.name for arm in settings.arms])
        (settings.out / "summary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not quiet:
        print("\n".join(lines))


if __name__ == "__main__":
    run_main(main)
