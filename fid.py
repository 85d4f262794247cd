"""FID, eq. (6): how far generated images are from real ones, by Inception features.

    python fid.py neu/Pa runs/neu/Pa/samples

The reference is what the split of neu/Pa holds out of training, or the whole folder if it has no split. FID depends on
the number of images on either side and on the resize rule, so both stand in the output. Compare only values with the
same of each. `--features nano` measures with a small network that needs no download. Its distance is FD-nano.
`--features imagenet` measures with a network trained on ImageNet, whose packages are an extra. Its distance is
FD-ImageNet. Neither can be compared with FID.
"""
import argparse
from pathlib import Path

from stablesdg.app.command_line import add_device, parser, positive, run_main, seed
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import write_json
from stablesdg.storage.torchrun import is_first


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python fid.py neu/Pa runs/neu/Pa/samples", many=True)
    p.add_argument("real", type=Path, help="folder of real images, the reference")
    p.add_argument("generated", type=Path, help="folder of generated images")
    p.add_argument("--reference", choices=["all", "train", "held-out"],
                   help="which of the real images, by their split (default: held-out, the validation and test part, if "
                        "there is a split with enough of them, else all)")
    p.add_argument("--codec", default="as-is", choices=["as-is", "same"],
                   help="same compresses both sides as the real images are, so that JPEG is not told from PNG")
    p.add_argument("--features", default="inception", choices=["inception", "nano", "imagenet"],
                   help="the feature network; nano is weights/nano/features.safetensors and gives FD-nano, not FID; "
                        "imagenet is EfficientNet-Lite0 of the package registry and gives FD-ImageNet")
    p.add_argument("--inception-weights", type=Path, help="pt_inception-2015-12-05-6726825d .pth or .safetensors "
                                                          "(default: the one in weights/)")
    p.add_argument("--resize", default="legacy", choices=["legacy", "clean"],
                   help="to Inception's 299 px: bilinear as the original FID, or antialiased as clean-fid")
    p.add_argument("--batch-size", type=positive, default=16, help="images at once")
    p.add_argument("--seed", type=seed, default=0, help="of the bootstrap, the subsets and the random draws")
    add_device(p)
    p.add_argument("--json", type=Path, help="also write the result to this file")
    args = p.parse_args(argv)
    if args.features != "inception" and (args.inception_weights or args.resize != p.get_default("resize")):
        raise UserError(f"--features {args.features} takes images at their own size, and no Inception: leave out "
                        "--resize and --inception-weights.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.app import devices, distance, processes
    from stablesdg.evaluate import extract, imagenet, score

    processes.start()
    sides = distance.open_sides(args.real, args.generated, args.reference, args.codec)
    device = devices.pick_device(args.device)
    if args.features == "nano":
        extractor = extract.nano_extractor(device)
    elif args.features == "imagenet":
        extractor = imagenet.imagenet_extractor(device)
    else:
        extractor = extract.inception_extractor(device, args.inception_weights, args.resize)
    real, generated = distance.measure_sides(sides, extractor, args.batch_size)
    if not is_first():
        return
    result = score.score(real, generated, args.seed)
    name = extractor.distance_name
    print(score.format_score(result, name if name == "FID" else f"{name}, not comparable with FID:"))
    distance.say_conditions(sides, extractor)
    if args.json:
        write_json(args.json, {**result.as_json(), "name": name, "features": extractor.kind, "real": str(args.real),
                               "resize": extractor.resize, "generated": str(args.generated),
                               "reference": sides.reference.kind, "codec": args.codec})


if __name__ == "__main__":
    run_main(main)
