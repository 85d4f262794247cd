"""FID, eq. (6): how far generated images are from real ones, by Inception features.

    python fid.py neu/Pa runs/neu/Pa/samples

FID depends on the number of images on either side and on the resize rule, so both stand in the output. Compare only
values with the same of each. `--features nano` measures with a small network that needs no download. Its distance is
FD-nano, which cannot be compared with FID.
"""
import argparse
from pathlib import Path

from stablesdg.app.command_line import add_device, parser, positive, run_main, seed
from stablesdg.storage.errors import UserError


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python fid.py neu/Pa runs/neu/Pa/samples")
    p.add_argument("real", type=Path, help="folder of real images, the reference")
    p.add_argument("generated", type=Path, help="folder of generated images")
    p.add_argument("--features", default="inception", choices=["inception", "nano"],
                   help="the feature network; nano is weights/nano/features.safetensors and gives FD-nano, not FID")
    p.add_argument("--inception-weights", type=Path, help="pt_inception-2015-12-05-6726825d .pth or .safetensors "
                                                          "(default: the one in weights/)")
    p.add_argument("--resize", default="legacy", choices=["legacy", "clean"],
                   help="to Inception's 299 px: bilinear as the original FID, or antialiased as clean-fid")
    p.add_argument("--batch-size", type=positive, default=16, help="images at once")
    p.add_argument("--seed", type=seed, default=0, help="of the bootstrap, the subsets and the random draws")
    add_device(p)
    p.add_argument("--json", type=Path, help="also write the result to this file")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.app.devices import pick_device
    from stablesdg.data.folders import list_images
    from stablesdg.evaluate.extract import inception_extractor, nano_extractor
    from stablesdg.evaluate.score import format_score, score
    from stablesdg.storage.files import write_json

    real, generated = list_images(args.real), list_images(args.generated)
    for folder, files in ((args.real, real), (args.generated, generated)):
        if len(files) < 2:
            raise UserError(f"{folder} holds one image: FID needs at least two on either side.")
    device = pick_device(args.device)
    if args.features == "nano":
        extractor = nano_extractor(device)
    else:
        extractor = inception_extractor(device, args.inception_weights, args.resize)
    result = score(extractor.of_files(real, args.batch_size, "real"),
                   extractor.of_files(generated, args.batch_size, "generated"), args.seed)
    name = extractor.distance_name
    print(format_score(result, name if name == "FID" else f"{name}, not comparable with FID:"))
    resize = f"{extractor.resize} resize" if extractor.resize else "images at their own size"
    print(f"{extractor.kind} features, {resize}")
    if args.json:
        write_json(args.json, {**result.as_json(), "name": name, "features": extractor.kind, "real": str(args.real),
                               "resize": extractor.resize, "generated": str(args.generated)})


if __name__ == "__main__":
    run_main(main)
