"""FID, eq. (6): how far generated images are from real ones, by Inception features.

    python fid.py neu/Pa runs/neu/Pa/samples

FID depends on the number of images on either side and on the resize rule, so both stand in the output. Compare only
values with the same of each.
"""
from pathlib import Path

from stablesdg import run
from stablesdg.files import UserError


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python fid.py neu/Pa runs/neu/Pa/samples")
    p.add_argument("real", type=Path, help="folder of real images, the reference")
    p.add_argument("generated", type=Path, help="folder of generated images")
    p.add_argument("--features", default="inception", choices=["inception"], help="the feature network")
    p.add_argument("--inception-weights", type=Path, help="pt_inception-2015-12-05-6726825d .pth or .safetensors "
                                                          "(default: the one in weights/)")
    p.add_argument("--resize", default="legacy", choices=["legacy", "clean"],
                   help="to 299 px: bilinear as the original FID, or antialiased as clean-fid")
    p.add_argument("--batch-size", type=run.positive, default=16, help="images at once")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--json", type=Path, help="also write the result to this file")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)

    from stablesdg.data import list_images
    from stablesdg.files import write_json
    from stablesdg.inception import find_inception_weights, load_inception
    from stablesdg.load import WEIGHTS
    from stablesdg.metrics import frechet_distance, inception_gaussian

    files = {"real": list_images(args.real), "generated": list_images(args.generated)}
    for side, folder in (("real", args.real), ("generated", args.generated)):
        if len(files[side]) < 2:
            raise UserError(f"{folder} holds one image: FID needs at least two on either side.")
    model = load_inception(args.inception_weights or find_inception_weights(WEIGHTS), run.pick_device(args.device))
    options = dict(resize=args.resize, batch_size=args.batch_size)
    real, generated = (inception_gaussian(files[side], model, progress=side, **options) for side in ("real", "generated"))
    fid = frechet_distance(real, generated)
    print(f"FID {fid:.3f} (N real {real.n}, N generated {generated.n}, {args.features} features, {args.resize} resize)")
    if args.json:
        write_json(args.json, {"fid": fid, "n_real": real.n, "n_generated": generated.n, "features": args.features,
                               "resize": args.resize, "real": str(args.real), "generated": str(args.generated)})


if __name__ == "__main__":
    run.main(main)
