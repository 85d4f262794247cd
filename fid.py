"""FID, eq. (6): how far generated images are from real ones, by Inception features.

    python fid.py neu/Pa runs/neu/Pa/samples

FID depends on the number of images on either side and on the resize rule, so both stand in the output. Compare only
values with the same of each. `--features nano` measures with a small network that needs no download; its distance is
FD-nano, which cannot be compared with FID.
"""
from pathlib import Path

from stablesdg.app.command_line import parser, positive, run_main, seed
from stablesdg.app.devices import pick_device
from stablesdg.storage.errors import UserError


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], "python fid.py neu/Pa runs/neu/Pa/samples")
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
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--json", type=Path, help="also write the result to this file")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)

    from functools import partial

    from stablesdg.data.folders import list_images
    from stablesdg.evaluate.features import load_nano_network
    from stablesdg.evaluate.inception import find_inception_weights, load_inception
    from stablesdg.evaluate.metrics import inception_features, nano_features
    from stablesdg.evaluate.score import cached_features, lines, network_key, score
    from stablesdg.storage.files import write_json
    from stablesdg.weights.read import WEIGHTS

    files = {"real": list_images(args.real), "generated": list_images(args.generated)}
    for side, folder in (("real", args.real), ("generated", args.generated)):
        if len(files[side]) < 2:
            raise UserError(f"{folder} holds one image: FID needs at least two on either side.")
    device = pick_device(args.device)
    if args.features == "nano":
        model = load_nano_network(device)
        extract, key, name = partial(nano_features, model=model), network_key("nano", model), "FD-nano, not comparable with FID:"
    else:
        model = load_inception(args.inception_weights or find_inception_weights(WEIGHTS), device)
        extract = partial(inception_features, model=model, resize=args.resize)
        key, name = network_key(f"inception-{args.resize}", model), "FID"
    features = {side: cached_features(files[side], partial(extract, batch_size=args.batch_size, progress=side), key)
                for side in files}
    result = score(features["real"], features["generated"], args.seed)
    print(lines(result, name) + f"\n{args.features} features, "
          + (f"{args.resize} resize" if args.features == "inception" else "images at their own size"))
    if args.json:
        write_json(args.json, {**result, "name": name.split(",")[0], "features": args.features, "real": str(args.real),
                               "resize": args.resize if args.features == "inception" else None,
                               "generated": str(args.generated)})


if __name__ == "__main__":
    run_main(main)
