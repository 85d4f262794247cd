"""Recognition: train a defect classifier on real, substituted or expanded training sets and test it once.

    python classify.py --data neu --network squeezenet --mode none
    python classify.py --data neu --network squeezenet --mode expand --generated runs/neu

alpha is the share of the real training images that is used. Each seed draws it anew, and all arms of a seed draw the
same images. The paper uses 0.4. Here the default is all of them.

    --mode none         those real images alone
    --mode substitute   for every real image left out, a generated one of its class (Fig. 9)
    --mode expand       those real images and all generated ones (Tables VI and VIII)
    --mode synthetic    the generated ones alone
    --control steps     as expand, with real images seen again instead: as many optimiser steps, nothing new
    --control copies    as expand, with the sources' round trips through the VAE (sample.py --strength 0 --out copies)
    --control classic   as expand, with as many rotated and mirrored real images instead

Validation and test images are always real. classify.py refuses generated images in which one of these had a part. Of
images that sample.py did not make, it can only check that they are none of these.
Results of one network, alpha, split and training that lie in one folder are compared on the same test images. A
sentence says whether they can be told apart. With alpha < 1, adapters that were trained on the whole training part have
seen real images that the arm none has not, and the sentence says so. For a fair comparison, train them on the same
share: benchmarks/recognition.py does.

    python classify.py --verdicts --data neu      # compares all results that are there, without training

How the networks learn can be changed, too: docs/recognition.md. Arms are only compared if they have equal --augment,
--side, --steps or --epochs, and --average.

A trained classifier is used on new images, and tested on labelled ones:

    python classify.py --predict new-images --model runs/neu/classify/squeezenet-expand-1.safetensors
    python classify.py --evaluate new-classes --model runs/neu/classify/squeezenet-expand-1.safetensors
"""
import argparse
from pathlib import Path

from stablesdg.app import classify_options
from stablesdg.app.command_line import announce, parser, run_main
from stablesdg.app.paths import dataset_folder
from stablesdg.storage.lock import alone_in
from stablesdg.storage.torchrun import is_first, rank, size


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python classify.py --data neu --generated runs/neu --network squeezenet --alpha 0.4 "
                        "--mode expand", many=True)
    p.add_argument("--data", type=Path, help="folder with one folder of real images for each class")
    p.add_argument("--generated", type=Path,
                   help="run folder of the data set (runs/neu), or any folder of class folders")
    p.add_argument("--network", default="squeezenet", choices=classify_options.NETWORKS,
                   help="AlexNet, VGG-16, ResNet-18, SqueezeNet 1.1 or DenseNet-121; nano is a linear classifier on "
                        "the frozen feature network of weights/nano, fitted in seconds; imagenet is the same on a "
                        "network trained on ImageNet, which needs two more packages")
    classify_options.add_arm(p.add_argument_group("training set"))
    classify_options.add_training(p.add_argument_group("training"))
    classify_options.add_weighting(p.add_argument_group("what counts in training"))
    classify_options.add_use(p.add_argument_group("use of a trained classifier"))
    p.add_argument("--verdicts", action="store_true",
                   help="compare the results in runs/DATASET/classify, or in --out, without training; --name shows one")
    p.add_argument("--resume", action="store_true", help="keep the seeds that an earlier call has finished")
    p.add_argument("--replace", action="store_true",
                   help="replace an earlier result of this name that had other settings or more seeds")
    p.add_argument("--out", type=Path,
                   help="folder for results (default: runs/DATASET/classify); file or folder for --predict, or folder "
                        "for --evaluate (default: beside the model)")
    args = p.parse_args(argv)
    classify_options.check(args)
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.model or args.verdicts:  # which train nothing
        classify(args)
        return
    folder = args.out or dataset_folder(args.data) / "classify"
    announce("classify.py", args.data, folder)
    with alone_in(folder):
        classify(args)


def classify(args: argparse.Namespace) -> None:
    """Train and test the networks of an arm, or use what was trained."""
    from stablesdg.app import classification, classify_settings, experiment, one_seed, prediction, processes
    from stablesdg.recognise import results

    settings = classify_settings.ClassifySettings(**vars(args))
    if (settings.model or settings.verdicts) and not is_first():
        return
    if settings.model:
        prediction.use_classifier(settings)
        return
    if settings.verdicts:
        classification.say_verdicts(settings.results_folder, settings.name)
        return

    processes.start()
    arm = experiment.open_experiment(settings)
    result = results.earlier_seeds(arm.out, arm.setup, settings.seeds, settings.resume, settings.replace)
    try:
        for first in range(len(result.seeds), settings.seeds, size()):  # as many seeds at once as there are processes
            done = one_seed.run_seed(arm, first + rank())
            for one in processes.gather(done):
                result = classification.add_seed(arm, result, one) if one and is_first() else result
    except KeyboardInterrupt:
        raise KeyboardInterrupt(classification.finished_seeds(result, settings)) from None
    if not is_first():
        return
    classification.keep_result(arm, result)
    classification.say_result(arm, result)


if __name__ == "__main__":
    run_main(main)
