"""FID, eq. (6): how far generated images are from real ones, by Inception features.

    python fid.py neu/Pa runs/neu/Pa/samples

The reference is what the split of neu/Pa holds out of training, or the whole folder if it has no split. FID depends on
the number of images on either side and on the resize rule, so both stand in the output. Compare only values with the
same of each. `--features nano` measures with a small network that needs no download. Its distance is FD-nano, which
cannot be compared with FID.
"""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stablesdg.app.command_line import add_device, parser, positive, run_main, seed
from stablesdg.app.paths import split_file
from stablesdg.data.folders import list_images
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import write_json

if TYPE_CHECKING:
    from stablesdg.evaluate.codec import Codec
    from stablesdg.evaluate.extract import FeatureExtractor
    from stablesdg.evaluate.reference import Reference


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python fid.py neu/Pa runs/neu/Pa/samples")
    p.add_argument("real", type=Path, help="folder of real images, the reference")
    p.add_argument("generated", type=Path, help="folder of generated images")
    p.add_argument("--reference", choices=["all", "train", "held-out"],
                   help="which of the real images, by their split (default: held-out, the validation and test part, if "
                        "there is a split with enough of them, else all)")
    p.add_argument("--codec", default="as-is", choices=["as-is", "same"],
                   help="same compresses both sides as the real images are, so that JPEG is not told from PNG")
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

    from stablesdg.app import devices
    from stablesdg.evaluate import codec, extract, score

    reference, generated = find_reference(args), list_images(args.generated)
    for folder, files in ((args.real, reference.files), (args.generated, generated)):
        if len(files) < 2:
            raise UserError(f"{folder} gives {len(files)} image: FID needs at least two on either side.")
    device = devices.pick_device(args.device)
    if args.features == "nano":
        extractor = extract.nano_extractor(device)
    else:
        extractor = extract.inception_extractor(device, args.inception_weights, args.resize)
    real_codec, generated_codec = codec.codec_of(reference.files), codec.codec_of(generated)
    if args.codec == "same" and real_codec.quality:
        with tempfile.TemporaryDirectory() as folder:
            sides = [codec.encode_alike(files, real_codec.quality, new_folder(folder, name))
                     for name, files in (("real", reference.files), ("generated", generated))]
            features = [extractor.of_files(files, args.batch_size) for files in sides]
    else:
        features = [extractor.of_files(files, args.batch_size, name)
                    for name, files in (("real", reference.files), ("generated", generated))]
    result = score.score(features[0], features[1], args.seed)
    name = extractor.distance_name
    print(score.format_score(result, name if name == "FID" else f"{name}, not comparable with FID:"))
    say_conditions(args, reference, extractor, real_codec, generated_codec)
    if args.json:
        write_json(args.json, {**result.as_json(), "name": name, "features": extractor.kind, "real": str(args.real),
                               "resize": extractor.resize, "generated": str(args.generated),
                               "reference": reference.kind, "codec": args.codec})


def find_reference(args: argparse.Namespace) -> Reference:
    """The real images, by the split of their folder."""
    from stablesdg.evaluate.reference import choose_reference

    manifest = split_file(args.real)
    try:
        return choose_reference(args.real, manifest, args.reference)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"--reference {args.reference} needs a split, and {manifest} knows no {args.real}: python -m "
                        f"stablesdg.split {args.real.parent} makes one.") from None


def say_conditions(args: argparse.Namespace, reference: Reference, extractor: FeatureExtractor, real: Codec,
                   generated: Codec) -> None:
    """Say what was compared with what, and warn of what makes the distance better or worse than the images are."""
    from stablesdg.evaluate.reference import known_to_generator

    resize = f"{extractor.resize} resize" if extractor.resize else "images at their own size"
    print(f"{extractor.kind} features, {resize}\nreference: {reference.said}")
    if known := known_to_generator(reference.files, args.generated):
        print(f"warning: {len(known)} of the {len(reference.files)} reference images are known to the generator: "
              "images were made from them, or it was trained on them. Copies of them would score best. --reference "
              "held-out leaves them out, where a split has others")
    if args.codec == "same":
        print(f"codec: both sides compressed again as {real}, which the real files' tables say" if real.quality else
              f"codec: the real images are {real}, so nothing was compressed again; the generated ones are {generated}")
    elif str(real) != str(generated):
        print(f"codec: the real images are {real}, the generated ones {generated}, and a part of the distance is that "
              "difference; --codec same compresses both alike")


def new_folder(parent: str, name: str) -> Path:
    """An empty folder inside another one."""
    folder = Path(parent) / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    run_main(main)
