"""The options of classify.py, and what they can get wrong by themselves."""
import argparse
from pathlib import Path

from ..storage.errors import UserError
from .command_line import Arguments, add_device, add_split, checked, finite, positive, rate

NETWORKS = ("alexnet", "vgg", "resnet", "squeezenet", "densenet", "nano", "imagenet")
TRAINED = NETWORKS[:-2]
FROZEN = NETWORKS[-2:]  # linear classifiers on frozen features; as in recognise.frozen, which needs PyTorch
OWN_FEATURES = "own"
SIDES = (64, 200)  # pixels, the least and the most
share = checked(float, lambda x: 0 < x <= 1, "in (0, 1]")
fraction = checked(float, lambda x: 0 < x < 1, "between 0 and 1")
side = checked(int, lambda n: SIDES[0] <= n <= SIDES[1], f"between {SIDES[0]} and {SIDES[1]}")
NO_EFFECT_ON_FROZEN = {  # options that change how a network is trained, and their defaults
    "epochs": None, "steps": None, "patience": None, "average": False, "side": SIDES[1], "augment": "paper",
    "upright": False, "mix": None, "teacher": None, "imitate": None, "share": None, "generated_weight": 1.0,
    "finish_real": 0.0, "pretrain_generated": False, "pretrained": None, "dtype": "auto"}
NO_EFFECT_ON_IMITATION = {"patience": None, "mix": None, "teacher": None, "generated_weight": 1.0}
NEEDS_BOTH_KINDS = {"share": None, "generated_weight": 1.0, "finish_real": 0.0, "pretrain_generated": False}


# ---- options ----------------------------------------------------------------------------------------------------


def add_arm(arm: Arguments) -> None:
    """Which images a classifier is trained on."""
    arm.add_argument("--mode", default="none", choices=["none", "substitute", "expand", "synthetic"],
                     help="how generated images are used")
    arm.add_argument("--control", choices=["steps", "copies", "classic"],
                     help="what expand must be better than, instead of --mode")
    arm.add_argument("--hard", type=Path, metavar="FILE",
                     help="with --control steps: see those images again more often that have a greater weight in this "
                          "file; hard-NAME.csv of an earlier result is one")
    arm.add_argument("--alpha", type=finite, default=1.0, help="share of the real training images that is used")
    arm.add_argument("--per-class", type=positive, help="use so many real training images a class, instead of --alpha")
    arm.add_argument("--number", type=positive,
                     help="generated images a class (default: all that there are); with --control steps or classic, "
                          "images to add to each class, also without --generated")
    arm.add_argument("--real-only", nargs="+", default=[], metavar="CLASS",
                     help="classes that have no generated images, good surfaces for example")
    arm.add_argument("--filter", nargs="?", const=OWN_FEATURES, choices=[OWN_FEATURES, *FROZEN],
                     help="leave out generated images that are copies, that are like nothing real, or in which a "
                          "probe on the real ones does not see their class; filter.csv lists them. The probe is on the "
                          f"features that are named here; {OWN_FEATURES}, which is --filter alone: those of --network "
                          "or --teacher, else nano")
    arm.add_argument("--name", help="name of this result, where one mode is tried with several generators, numbers or "
                                    "settings (default: the mode or control, and what is chosen below)")
    add_split(arm)


def add_training(training: Arguments) -> None:
    """How a network is trained."""
    training.add_argument("--epochs", type=positive, help="passes over the training set (default: 50)")
    training.add_argument("--steps", type=positive,
                          help="optimiser steps, the same for all arms, instead of --epochs; the validation part is "
                               "looked at 20 times, and each time ends an epoch")
    training.add_argument("--seeds", type=positive, default=1, help="trainings, with seeds 0, 1, ..")
    training.add_argument("--patience", type=positive, help="stop after so many epochs that are no better on the "
                                                            "validation part (default: never, as in the paper)")
    training.add_argument("--average", action="store_true",
                          help="validate and test a moving average of the weights, which is steadier than they are")
    training.add_argument("--side", type=side, default=SIDES[1],
                          help=f"side of the images in pixels, {SIDES[0]} to {SIDES[1]}; a smaller one trains faster")
    training.add_argument("--augment", default="paper", choices=["paper", "strong"],
                          help="small rotations and mirroring; strong adds crops, quarter turns, light, noise, blur "
                               "and cutout")
    training.add_argument("--upright", action="store_true",
                          help="with --augment strong: no quarter turns, for defects whose direction tells their class")
    training.add_argument("--mix", choices=["cutmix", "mixup", "both"],
                          help="lay a piece of another image into an image, or add them, in half of the steps")
    training.add_argument("--pretrained", type=Path,
                          help="local torchvision state dict to start from (default: random)")
    add_device(training)
    training.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"],
                          help="of the arithmetic in training; auto takes bfloat16 where it is faster on this machine")


def add_weighting(weighting: Arguments) -> None:
    """Whose labels count, and which images how much."""
    weighting.add_argument("--teacher", choices=["nano", "imagenet"],
                           help="learn from the soft labels of a probe on frozen features of the real images: those of "
                                "weights/nano, or of a network trained on ImageNet (two more packages)")
    weighting.add_argument("--imitate", choices=["nano", "imagenet"],
                           help="learn to give those frozen features of each view, and no classes; a linear classifier "
                                "on what the network gives is fitted at the end, to real images. Needs --steps")
    weighting.add_argument("--balanced", action="store_true",
                           help="show each class equally often; on frozen features, let all classes count alike")
    weighting.add_argument("--share", type=fraction,
                           help="share of generated images among those that are shown (default: by their number)")
    weighting.add_argument("--generated-weight", type=rate, default=1.0,
                           help="weight of a generated image's loss; a real one has 1")
    weighting.add_argument("--finish-real", type=fraction, default=0.0,
                           help="show real images alone in this last share of the steps")
    weighting.add_argument("--pretrain-generated", action="store_true",
                           help="show generated images alone in the first half of the steps, and real ones after it")


def add_use(use: Arguments) -> None:
    """What a trained classifier is used for."""
    use.add_argument("--predict", type=Path, help="classify the images of this folder with --model")
    use.add_argument("--evaluate", type=Path,
                     help="test --model on this folder, which has one folder of images for each class")
    use.add_argument("--model", type=Path, help="a .safetensors that an earlier call wrote")
    use.add_argument("--threshold", type=share,
                     help="with --predict: write unsure where the best class is less probable than this")
    use.add_argument("--onnx", type=Path, help="write --model into this ONNX file (pip install onnx onnxscript)")


# ---- checks -----------------------------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> None:
    """Raise UserError if options do not belong together, or if one would do nothing."""
    if args.predict or args.evaluate or args.onnx or args.model or args.threshold:
        check_use(args)
    elif args.verdicts:
        check_verdicts(args)
    else:
        check_arm(args)
        check_generated(args)
        check_training(args)


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


def check_arm(args: argparse.Namespace) -> None:
    """What the choice of images can get wrong."""
    if not args.data:
        raise UserError("--data DATASET is missing (or --predict FOLDER --model FILE to use a trained classifier).")
    if not 0 < args.alpha <= 1:
        raise UserError(f"--alpha {args.alpha} is not a share in (0, 1].")
    if args.control and args.mode != "none":
        raise UserError(f"--control {args.control} takes the place of --mode: leave out --mode {args.mode}.")
    if args.hard and args.control != "steps":
        raise UserError("--hard says which real images are seen again: it needs --control steps.")
    if args.hard and not args.hard.is_file():
        raise UserError(f"There is no {args.hard}: pass a hard-NAME.csv that classify.py wrote, or write file,weight.")
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
    if args.real_only and not args.generated:
        raise UserError(f"--real-only {args.real_only[0]} belongs to --generated FOLDER: add that, or leave it out.")
    if args.filter and args.control == "copies":
        raise UserError("--filter would leave out the copies that --control copies is made of: leave out --filter.")
    own = args.network if args.network in FROZEN else args.imitate or args.teacher
    if own and args.filter not in (None, OWN_FEATURES, own):
        raise UserError(f"--filter {args.filter} and features of {own} are two probes, and one call fits one: write "
                        f"--filter {own}.")
    if args.filter and not args.generated:
        raise UserError("--filter judges generated images: pass --generated FOLDER, or leave out --filter.")


def check_training(args: argparse.Namespace) -> None:
    """Whether each option of the training has an effect."""
    if args.network in FROZEN:
        check_frozen(args)
    if args.imitate:
        check_imitation(args)
    if args.epochs and args.steps:
        raise UserError("--epochs and --steps both say how long a training is: pass one of them.")
    if args.upright and args.augment != "strong":
        raise UserError("--upright belongs to --augment strong, which alone has quarter turns: add that, or leave out "
                        "--upright.")
    if args.mode == "synthetic" or (args.mode == "none" and not args.control):
        if chosen := changed(args, NEEDS_BOTH_KINDS):
            raise UserError(f"{chosen[0]} has no effect on --mode {args.mode}, which does not take both real and "
                            "generated images.")
    if args.pretrain_generated:
        others = {name: default for name, default in NEEDS_BOTH_KINDS.items() if name != "pretrain_generated"}
        if chosen := changed(args, others):
            raise UserError(f"{chosen[0]} has no effect with --pretrain-generated, which never shows real and "
                            "generated images together: leave out one of them.")


def check_frozen(args: argparse.Namespace) -> None:
    """Frozen features are not trained, so that most options would do nothing."""
    if chosen := changed(args, NO_EFFECT_ON_FROZEN):
        raise UserError(f"{chosen[0]} has no effect on --network {args.network}, which fits a linear classifier to "
                        f"frozen features: leave out {chosen[0]}.")
    if args.control == "classic":
        raise UserError(f"--control classic has no image files, which --network {args.network} needs: choose another "
                        "--control.")


def check_imitation(args: argparse.Namespace) -> None:
    """Imitation asks for no label while it learns, and looks at the validation part at the end alone."""
    if chosen := changed(args, NO_EFFECT_ON_IMITATION):
        raise UserError(f"{chosen[0]} has no effect on --imitate {args.imitate}, which learns features and no classes: "
                        f"leave out {chosen[0]}.")
    if not args.steps:
        raise UserError(f"--imitate {args.imitate} learns for a number of steps, and there are no epochs to choose "
                        "from: add --steps 1000, for example.")


def changed(args: argparse.Namespace, defaults: dict[str, object]) -> list[str]:
    """Those of the options that do not have their default, as they are written on the command line."""
    return [f"--{name.replace('_', '-')}" for name, default in defaults.items() if getattr(args, name) != default]
