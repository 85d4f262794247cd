"""One command: from a folder of class folders to an expanded data set, a trained classifier and a report.

    python expand.py --data neu                  # -> runs/neu/report.html, runs/neu/expanded/

It types the commands that you would type, one after the other, and prints each. First it makes the plan, and the split
with it. Then, for each class, it learns the token embedding and the LoRA, chooses s and w, and makes and scores images.
Then it trains classifiers with and without these images, and one on real images that learns frozen features in the
place of classes. It writes the expanded data set as plain folders, and the report.

Where the plan says that generation is not worth it, only the classifier on frozen features is trained. --method image
or compose generates all the same.

torchrun shares the work of its stages among many processes. A stage that fails ends them all then.

Stop it at any time. The same command goes on: a stage is skipped if its command is the same and if neither what it read
nor what it wrote has changed. A class that fails does not stop the others. It is named at the end.
"""
import argparse
from contextlib import nullcontext
from pathlib import Path

from stablesdg.app.classify_options import TRAINED, side
from stablesdg.app.command_line import (
    add_device,
    announce,
    duration,
    parser,
    positive,
    rate,
    run_main,
    seed,
)
from stablesdg.app.paths import dataset_folder
from stablesdg.storage.errors import UserError
from stablesdg.storage.lock import alone_in


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python expand.py --data neu --budget 8h", many=True)
    p.add_argument("--data", type=Path, required=True, help="folder with one folder of real images for each class")
    p.add_argument("--categories", type=names, metavar="A,B",
                   help="generate for these classes alone (default: all). One call at a time on a data set")
    p.add_argument("--good", metavar="NAME",
                   help="a class without defects: nothing is generated for it, and composites use it as ground")
    p.add_argument("--weights", help="diffusers folder or CompVis .safetensors (default: weights/"
                                     "stable-diffusion-v1-5 if it is there, else weights/nano)")
    method = p.add_argument_group("generation")
    method.add_argument("--method", default="auto", choices=["auto", "image", "compose"],
                        help="image is the paper's Algorithm 1; compose lays defects on other grounds; auto takes "
                             "image, or compose with --good, or neither where the plan advises against it")
    method.add_argument("--hyperparameters", default="tune", choices=["tune", "paper"],
                        help="s and w of each class: chosen on its validation part, or the weights' recipe, else the "
                             "paper's Table I")
    method.add_argument("--number", type=positive, help="images of each class (default: 1000; 100 with a small prior)")
    method.add_argument("--iterations", type=positive,
                        help="optimiser steps of each training (default: 1000; 150 with a small prior)")
    method.add_argument("--masks", type=Path, help="folder with one folder of masks for each class, as sample.py "
                                                   "--compose takes them: white where the defect is")
    method.add_argument("--boxes", type=Path, help="the same with boxes: VOC xml, YOLO txt or COCO json")
    recognition = p.add_argument_group("recognition")
    recognition.add_argument("--networks", type=networks, default="squeezenet", metavar="A,B",
                             help="alexnet, vgg, resnet, squeezenet, densenet; the classifier on the frozen features "
                                  "that plan found better, nano or imagenet, is always there")
    recognition.add_argument("--steps", type=positive, default=1000,
                             help="optimiser steps of a classifier, in each arm")
    recognition.add_argument("--side", type=side, default=200, help="side of the classifiers' images in pixels")
    recognition.add_argument("--seeds", type=positive, default=3, help="trainings of each classifier")
    run = p.add_argument_group("run")
    run.add_argument("--budget", type=hours, metavar="8h", help="start no stage after so many hours (8h) or minutes "
                                                                "(90m); the same command goes on")
    run.add_argument("--dry-run", action="store_true", help="list the stages with minutes and memory, and do nothing")
    run.add_argument("--seed", type=seed, default=0,
                     help="of adapters and images; the split and the classifiers have their own")
    add_device(run)
    args = p.parse_args(argv)
    if not args.data.is_dir():
        raise UserError(f"{args.data} is no folder: pass one that holds a folder of images for each class.")
    return args


def names(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def networks(text: str) -> tuple[str, ...]:
    """Networks that are trained, between commas."""
    found = names(text)
    if strange := [name for name in found if name not in TRAINED]:
        raise argparse.ArgumentTypeError(f"{strange[0]} is none of {', '.join(TRAINED)}")
    return found


def hours(text: str) -> float:
    """8h, or 90m: a time in seconds."""
    unit = {"h": 3600.0, "m": 60.0}.get(text[-1:])
    if unit is None:
        raise argparse.ArgumentTypeError(f"{text} is not a time: write 8h or 90m")
    return rate(text[:-1]) * unit


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    folder = dataset_folder(args.data)
    announce("expand.py", args.data, folder)
    with nullcontext() if args.dry_run else alone_in(folder):  # the stages lock folders in it
        expand(args, folder)


def expand(args: argparse.Namespace, folder: Path) -> None:
    """Run all stages, or list them."""
    from stablesdg.app import expand_settings, expansion, journal, model, processes
    from stablesdg.app.stages import list_stages

    settings = expand_settings.resolve(**vars(args))
    expansion.require_shares()
    processes.start()
    if settings.dry_run:
        stages = list_stages(settings, generates=True)
        print("\n".join(processes.of_first_by_itself(lambda: expansion.dry_run_lines(settings, stages))))
        return

    notes = journal.Journal(folder / "expand.json", settings.good)
    clock = expansion.Clock(settings)
    plan, *_ = list_stages(settings, generates=False)
    expansion.run_stage(plan, notes, clock)
    if notes.failed:
        raise UserError(f"{notes.describe_failures()}. Mend that, and the same command goes on.")
    generates = processes.of_first(lambda: expansion.decide(settings, folder))
    if generates:
        processes.of_first(lambda: expansion.require_marked_sources(settings, folder))
        expansion.say_not_tuned(settings, folder)
    stages = processes.of_first(lambda: list_stages(settings, generates)[1:])
    with model.keep_model():  # the stages of classes load it; the classifiers after them need its memory
        in_time = expansion.run_stages([stage for stage in stages if stage.category], notes, clock)
    if in_time:
        expansion.run_stages([stage for stage in stages if not stage.category], notes, clock)
    expansion.close(settings, notes, clock)
    print(f"all of it took {duration(clock.seconds())}; open {folder / 'report.html'} in a browser")
    if notes.failed:
        raise UserError(f"{len(notes.failed)} stages failed: {notes.describe_failures()}. Mend that, and the same "
                        "command goes on.")


if __name__ == "__main__":
    run_main(main)
