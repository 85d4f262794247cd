"""Recognition: train a defect classifier on real, substituted or expanded training sets and test it once.

    python classify.py --data neu --network squeezenet --mode none
    python classify.py --data neu --network squeezenet --mode expand --generated runs/neu

alpha is the share of the real training images that is used, drawn anew for each seed and the same for each arm; the paper's
is .4, the default all of them:

    --mode none         those real images alone
    --mode substitute   for every real image left out, a generated one of its class (Fig. 9)
    --mode expand       those real images and all generated ones (Tables VI and VIII)
    --mode synthetic    the generated ones alone
    --control steps     expand with real images seen again instead: as many optimiser steps, nothing new
    --control copies    expand with the sources' round trips through the VAE, sample.py --strength 0 --out .../copies
    --control classic   expand with as many rotated and mirrored real images instead

Validation and test images are always real. Images that sample.py made are refused if these had a part in them; of other
images, only that they are none of these is checked. Arms of one network, alpha and split are compared on the same test images,
and a sentence says whether they can be told apart. With alpha < 1, adapters trained on the whole training part have seen real
images that the arm none has not, and the sentence says so: a fair comparison trains them on the same share, as
benchmarks/recognition.py does.

    python classify.py --predict new-images --model runs/neu/classify/squeezenet-expand-1.safetensors
"""
from pathlib import Path

from stablesdg.app.command_line import add_split, parser, positive, run_main
from stablesdg.app.devices import pick_device, pick_dtype
from stablesdg.app.paths import RUNS, split_file
from stablesdg.storage.errors import UserError


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], "python classify.py --data neu --generated runs/neu --network squeezenet "
                                            "--alpha 0.4 --mode expand")
    p.add_argument("--data", type=Path, help="folder with one folder of real images for each class")
    p.add_argument("--generated", type=Path, help="run folder of the data set (runs/neu), or any folder of class folders")
    p.add_argument("--network", default="squeezenet", choices=["alexnet", "vgg", "resnet", "squeezenet", "densenet"],
                   help="AlexNet, VGG-16, ResNet-18, SqueezeNet 1.1 or DenseNet-121")
    arm = p.add_argument_group("training set")
    arm.add_argument("--mode", default="none", choices=["none", "substitute", "expand", "synthetic"],
                     help="what generated images are for")
    arm.add_argument("--control", choices=["steps", "copies", "classic"],
                     help="what expand must be better than, instead of --mode")
    arm.add_argument("--alpha", type=float, default=1.0, help="share of the real training images that is used")
    arm.add_argument("--per-class", type=positive, help="so many real training images a class, instead of --alpha")
    arm.add_argument("--number", type=positive, help="generated images a class (default: all that there are)")
    arm.add_argument("--name", help="what to call this result, where one mode is tried with several generators, numbers or "
                                    "settings (default: the mode or control)")
    add_split(arm)
    training = p.add_argument_group("training")
    training.add_argument("--epochs", type=positive, default=50, help="passes over the training set")
    training.add_argument("--seeds", type=positive, default=1, help="runs with seeds 0, 1, ..")
    training.add_argument("--patience", type=positive, help="stop after so many epochs without a better one on validation "
                                                                "(default: never, as in the paper)")
    training.add_argument("--pretrained", type=Path, help="local torchvision state dict to start from (default: random)")
    training.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    training.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"],
                          help="of the arithmetic; auto takes bfloat16 where the machine computes in it")
    use = p.add_argument_group("use of a trained classifier")
    use.add_argument("--predict", type=Path, help="folder of new images to classify with --model")
    use.add_argument("--model", type=Path, help="a .safetensors that an earlier call wrote")
    use.add_argument("--onnx", type=Path, help="write --model in this ONNX file (pip install onnx onnxscript)")
    p.add_argument("--resume", action="store_true", help="keep the seeds that an earlier call has finished")
    p.add_argument("--out", type=Path, help="folder for results (default: runs/DATASET/classify), or file for --predict")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if args.predict or args.onnx:
        return use_model(args)
    check(args)

    import torch

    from stablesdg.data.folders import list_categories
    from stablesdg.data.split import PARTS, load_split, part_files
    from stablesdg.recognise import classifiers
    from stablesdg.recognise.arms import (
        as_many,
        as_tensors,
        describe,
        digest,
        earlier_seeds,
        generated_files,
        save_result,
        surfaces,
        training_set,
    )
    from stablesdg.storage.files import sha256

    device = pick_device(args.device)
    dtype = pick_dtype(args.dtype, device)
    folders = list_categories(args.data)
    classes = [folder.resolve().name for folder in folders]
    if len(classes) < 2:
        raise UserError(f"{args.data} has one class folder only, {classes[0]}: a classifier needs two or more.")
    arm = args.control or args.mode
    out = args.out or RUNS / args.data.resolve().name / "classify"
    split = load_split(split_file(folders[0]), folders, args.split)
    parts = {part: [part_files(split, folder, part) for folder in folders] for part in PARTS}
    for part in PARTS:
        if lacking := [name for name, files in zip(classes, parts[part]) if not files]:
            raise UserError(f"{lacking[0]} has no {part} images: a class needs three images at least that share no "
                            "surface, or --split random (python -m stablesdg.split --replace).")
    for name, files in zip(classes, parts["train"]):
        if args.per_class and len(files) < args.per_class:
            print(f"{name} has only {len(files)} training images, so --per-class {args.per_class} takes those")
    made = [generated_files(args.generated, name, split) for name in classes] if args.generated else []
    generated = [files for files, _ in made]
    if arm == "copies":
        made = [generated_files(args.generated, name, split, "copies") for name in classes]
        generated = as_many([files for files, _ in made], generated, args.number)
    if arm in ("steps", "classic"):
        made = []  # only how many they are counts
    seen = set().union(*(digests or () for _, digests in made))
    if unknown := [name for name, (_, digests) in zip(classes, made) if digests is None]:
        print(f"the images in {args.generated} for {unknown[0]} do not say what made them: whether it has seen validation or "
              "test images cannot be checked")
    print(f"{len(classes)} classes, {split['method']} split; images: "
          + ", ".join(f"{sum(map(len, parts[part]))} {part}" for part in PARTS))
    x_val, y_val = as_tensors(parts["val"])
    x_test, y_test = as_tensors(parts["test"])

    title = args.name or arm
    result = {"network": args.network, "arm": arm, "name": title, "alpha": args.alpha, "per_class": args.per_class,
              "classes": classes, "n_extra": 0, "unseen": 0, "origin_unknown": bool(unknown),
              "pretrained_sha256": sha256(args.pretrained) if args.pretrained else None, "device": device.type,
              "test_files": [f"{name}/{file.name}" for name, files in zip(classes, parts["test"]) for file in files],
              "test_groups": surfaces(parts["test"], split), "dtype": str(dtype).removeprefix("torch."),
              "held_out_sha256": digest(parts["val"], parts["test"]), "images_sha256": digest(parts["train"], generated),
              "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
              "rows": [], "correct": [], "confusion": []}
    amount = f"{args.per_class}-a-class" if args.per_class else f"{args.alpha:g}"
    stem = f"{args.network}-{title}-{amount}" + ("-random" if split["method"] == "random" else "")
    result = earlier_seeds(out / f"{stem}.json", result, args.resume)
    for seed in range(len(result["rows"]), args.seeds):
        own = training_set(arm, parts["train"], generated, args.alpha, args.per_class, args.number, seed)
        n = len(own.x)
        result["n_extra"] = own.n_extra
        result["unseen"] = max(result["unseen"], len(seen - {sha256(file) for files in own.real for file in files}))
        print(f"seed {seed}: training on {own.n_real} real and {n - own.n_real} other images, {args.epochs} epochs")
        torch.manual_seed(seed)
        model = classifiers.build(args.network, len(classes), args.pretrained)
        best, history = classifiers.train(model, own.x, own.y, x_val, y_val, epochs=args.epochs, seed=seed, device=device,
                                          patience=args.patience, dtype=dtype, label=f"{args.network} {title} seed {seed}")
        model.load_state_dict(best)
        predicted = classifiers.predict(model, x_test, device).argmax(dim=1)
        confusion = torch.bincount(y_test * len(classes) + predicted, minlength=len(classes) ** 2).view(len(classes), -1)
        accuracy, (val_accuracy, _) = float((predicted == y_test).float().mean()), max(history)
        epoch = history.index(max(history)) + 1
        print(f"seed {seed}: test accuracy {accuracy:.4f} ({len(y_test)} images) at epoch {epoch}, "
              f"best of {len(history)} on validation ({val_accuracy:.4f} of {len(y_val)} images)")
        if round(val_accuracy, 6) > max((float(row["val_accuracy"]) for row in result["rows"]), default=-1.0):
            classifiers.save(out / f"{stem}.safetensors", best, args.network, classes)
        result["rows"].append({"network": args.network, "name": title, "alpha": args.alpha, "per_class": args.per_class or "",
                               "split": split["method"], "arm": arm, "seed": seed, "epochs": len(history),
                               "steps": len(history) * classifiers.steps(n), "n_real": own.n_real,
                               "n_generated": n - own.n_real, "best_epoch": epoch, "val_accuracy": f"{val_accuracy:.6f}",
                               "test_accuracy": f"{accuracy:.6f}"})
        result["correct"].append((predicted == y_test).int().tolist())
        result["confusion"].append(confusion.tolist())
        save_result(out, stem, result)  # after each seed, so that --resume can go on

    result = save_result(out, stem, result)
    print(describe(result))
    for found in result["verdicts"]:
        print(found["sentence"])
    print(f"wrote {out}/results.csv, {stem}.json, confusion-{stem}.png and {stem}.safetensors, which --predict takes as --model")


def check(args):
    """What the arguments alone can get wrong."""
    if not args.data:
        raise UserError("--data DATASET is missing (or --predict FOLDER --model FILE to use a trained classifier).")
    if not 0 < args.alpha <= 1:
        raise UserError(f"--alpha {args.alpha} is not a share in (0, 1].")
    if args.control and args.mode != "none":
        raise UserError(f"--control {args.control} takes the place of --mode: leave out --mode {args.mode}.")
    if args.mode == "substitute" and args.alpha == 1 and not args.per_class:
        raise UserError("--mode substitute replaces real images, and --alpha 1 leaves none out: pass --alpha 0.4, for example.")
    if args.per_class and args.alpha != 1:
        raise UserError("--alpha and --per-class both say how many real images are used: pass one of them.")
    if args.number and (args.mode == "substitute" or args.mode == "none" and not args.control):
        raise UserError(f"--number has no effect on --mode {args.mode}, which takes " + (
            "no generated image." if args.mode == "none" else "as many generated images as real ones are left out."))
    if args.pretrained and not args.pretrained.is_file():
        raise UserError(f"There is no {args.pretrained}: pass a state dict that torchvision publishes or classify.py wrote.")
    if args.name and Path(args.name).name != args.name:
        raise UserError(f"--name {args.name} becomes part of file names: leave out slashes.")
    if (args.mode != "none" or bool(args.control)) != bool(args.generated):
        raise UserError("All but --mode none need --generated FOLDER (controls, to know how many images expand uses); "
                        "--mode none takes none.")


def use_model(args):
    """--predict and --onnx."""
    if not args.model:
        raise UserError("--predict and --onnx need --model FILE, which an earlier call of classify.py wrote.")

    from stablesdg.data.folders import list_images
    from stablesdg.recognise import classifiers
    from stablesdg.storage.files import write_csv

    device = pick_device(args.device)
    model, classes = classifiers.load(args.model)
    if args.onnx:
        classifiers.export_onnx(model, args.onnx)
        print(f"wrote {args.onnx}: uint8 images (N, 3, 200, 200) to probabilities of {', '.join(classes)}")
    if args.predict:
        files = list_images(args.predict)
        probabilities = classifiers.predict_files(model.to(device), files, device)
        out = args.out or Path("predictions.csv")
        out = out / "predictions.csv" if out.is_dir() else out
        write_csv(out, ("file", "class", *classes), [
            (file.name, classes[int(p.argmax())], *(f"{float(v):.6f}" for v in p)) for file, p in zip(files, probabilities)])
        print(f"wrote {out}: the class of {len(files)} images")


if __name__ == "__main__":
    run_main(main)
