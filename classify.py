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

A trained classifier is used on new images, and tested on labelled ones:

    python classify.py --predict new-images --model runs/neu/classify/squeezenet-expand-1.safetensors
    python classify.py --evaluate new-classes --model runs/neu/classify/squeezenet-expand-1.safetensors
"""
import argparse
from pathlib import Path

from stablesdg.app.command_line import add_device, add_split, announce, parser, positive, run_main
from stablesdg.app.paths import dataset_folder
from stablesdg.storage.errors import UserError


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python classify.py --data neu --generated runs/neu --network squeezenet --alpha 0.4 "
                        "--mode expand")
    p.add_argument("--data", type=Path, help="folder with one folder of real images for each class")
    p.add_argument("--generated", type=Path,
                   help="run folder of the data set (runs/neu), or any folder of class folders")
    p.add_argument("--network", default="squeezenet", choices=["alexnet", "vgg", "resnet", "squeezenet", "densenet"],
                   help="AlexNet, VGG-16, ResNet-18, SqueezeNet 1.1 or DenseNet-121")
    arm = p.add_argument_group("training set")
    arm.add_argument("--mode", default="none", choices=["none", "substitute", "expand", "synthetic"],
                     help="how generated images are used")
    arm.add_argument("--control", choices=["steps", "copies", "classic"],
                     help="what expand must be better than, instead of --mode")
    arm.add_argument("--alpha", type=float, default=1.0, help="share of the real training images that is used")
    arm.add_argument("--per-class", type=positive, help="use so many real training images a class, instead of --alpha")
    arm.add_argument("--number", type=positive,
                     help="generated images a class (default: all that there are); with --control steps or classic, "
                          "images to add to each class, also without --generated")
    arm.add_argument("--name", help="name of this result, where one mode is tried with several generators, numbers or "
                                    "settings (default: the mode or control)")
    add_split(arm)
    training = p.add_argument_group("training")
    training.add_argument("--epochs", type=positive, default=50, help="passes over the training set")
    training.add_argument("--seeds", type=positive, default=1, help="trainings, with seeds 0, 1, ..")
    training.add_argument("--patience", type=positive, help="stop after so many epochs that are no better on the "
                                                            "validation part (default: never, as in the paper)")
    training.add_argument("--pretrained", type=Path,
                          help="local torchvision state dict to start from (default: random)")
    add_device(training)
    training.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"],
                          help="of the arithmetic in training; auto takes bfloat16 where it is faster on this machine")
    use = p.add_argument_group("use of a trained classifier")
    use.add_argument("--predict", type=Path, help="classify the images of this folder with --model")
    use.add_argument("--evaluate", type=Path,
                     help="test --model on this folder, which has one folder of images for each class")
    use.add_argument("--model", type=Path, help="a .safetensors that an earlier call wrote")
    use.add_argument("--threshold", type=share,
                     help="with --predict: write unsure where the best class is less probable than this")
    use.add_argument("--onnx", type=Path, help="write --model into this ONNX file (pip install onnx onnxscript)")
    p.add_argument("--verdicts", action="store_true",
                   help="compare the results in runs/DATASET/classify, or in --out, without training; --name shows one")
    p.add_argument("--resume", action="store_true", help="keep the seeds that an earlier call has finished")
    p.add_argument("--replace", action="store_true",
                   help="replace an earlier result of this name that had other settings or more seeds")
    p.add_argument("--out", type=Path,
                   help="folder for results (default: runs/DATASET/classify); file for --predict, or folder for "
                        "--evaluate (default: beside the model)")
    args = p.parse_args(argv)
    check_use(args) if uses_classifier(args) else check_verdicts(args) if args.verdicts else check_training(args)
    return args


def share(text: str) -> float:
    """A number in (0, 1]."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in (0, 1]")
    return value


def uses_classifier(args: argparse.Namespace) -> bool:
    """Whether a trained classifier is used, and none is trained."""
    return bool(args.predict or args.evaluate or args.onnx or args.model or args.threshold)


def check_use(args: argparse.Namespace) -> None:
    """What the use of a trained classifier needs."""
    if not args.model:
        raise UserError("--predict, --evaluate, --threshold and --onnx need --model FILE, which an earlier call of "
                        "classify.py wrote.")
    if not (args.predict or args.evaluate or args.onnx):
        raise UserError(f"--model {args.model} is not used: add --predict FOLDER, --evaluate FOLDER or --onnx FILE.")
    if args.threshold and not args.predict:
        raise UserError("--threshold belongs to --predict FOLDER: add that, or leave out --threshold.")
    if args.predict and args.evaluate:
        raise UserError("--predict and --evaluate are two calls: leave out one of them.")


def check_verdicts(args: argparse.Namespace) -> None:
    """What --verdicts needs."""
    if not (args.data or args.out):
        raise UserError("--verdicts needs --data DATASET, or --out FOLDER with results.")


def check_training(args: argparse.Namespace) -> None:
    """What the arguments of a training can get wrong by themselves."""
    if not args.data:
        raise UserError("--data DATASET is missing (or --predict FOLDER --model FILE to use a trained classifier).")
    if not 0 < args.alpha <= 1:
        raise UserError(f"--alpha {args.alpha} is not a share in (0, 1].")
    if args.control and args.mode != "none":
        raise UserError(f"--control {args.control} takes the place of --mode: leave out --mode {args.mode}.")
    if args.mode == "substitute" and args.alpha == 1 and not args.per_class:
        raise UserError("--mode substitute replaces real images, and --alpha 1 leaves none out: pass --alpha 0.4, for "
                        "example.")
    if args.per_class and args.alpha != 1:
        raise UserError("--alpha and --per-class both say how many real images are used: pass one of them.")
    if args.number and args.mode == "none" and not args.control:
        raise UserError("--number has no effect on --mode none, which takes no generated image.")
    if args.number and args.mode == "substitute":
        raise UserError("--number has no effect on --mode substitute, which takes as many generated images as real "
                        "ones are left out.")
    if args.pretrained and not args.pretrained.is_file():
        raise UserError(f"There is no {args.pretrained}: pass a state dict that torchvision publishes or classify.py "
                        "wrote.")
    if args.name and Path(args.name).name != args.name:
        raise UserError(f"--name {args.name} becomes part of file names: leave out slashes.")
    if args.resume and args.replace:
        raise UserError("--resume keeps what --replace throws away: leave out one of them.")
    check_generated(args)


def check_generated(args: argparse.Namespace) -> None:
    """Whether --generated, or --number in its place, is there where it is needed, and only there."""
    if args.mode == "none" and not args.control and args.generated:
        raise UserError(f"--mode none takes no generated image: leave out --generated {args.generated}.")
    if args.control in ("steps", "classic"):
        if not (args.generated or args.number):
            raise UserError(f"--control {args.control} must know how many images expand uses: it needs --generated "
                            "FOLDER, which it only counts, or --number N (images a class).")
    elif (args.mode != "none" or args.control) and not args.generated:
        raise UserError("All but --mode none need --generated FOLDER (--control steps and classic can do with --number "
                        "N instead).")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if not (args.model or args.verdicts):
        announce("classify.py", args.data, args.out or dataset_folder(args.data) / "classify")

    from stablesdg.app import classification, prediction
    from stablesdg.recognise import arms, results

    settings = classification.ClassifySettings(**vars(args))
    if settings.model:
        prediction.use_classifier(settings)
        return
    if settings.verdicts:
        classification.say_verdicts(settings.results_folder, settings.name)
        return

    experiment = classification.open_experiment(settings)
    result = results.earlier_seeds(experiment.out, experiment.setup, settings.seeds, settings.resume, settings.replace)
    try:
        for seed in range(len(result.seeds), settings.seeds):
            images = arms.training_set(settings.arm, experiment.train, experiment.generated.files, seed)
            trained = classification.train_network(experiment, images, seed)
            tested = classification.test_network(experiment, images, trained, seed)
            result = classification.add_seed(experiment, result, images, trained, tested)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(classification.finished_seeds(result, settings)) from None
    classification.keep_result(experiment, result)
    classification.say_result(experiment, result)


if __name__ == "__main__":
    run_main(main)
