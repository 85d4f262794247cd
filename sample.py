"""Image-oriented generation, Algorithm 1: noise real defect images to T' = sT and denoise them with guidance w.

    python sample.py --strength 0.4        # latest run -> runs/DATASET/CATEGORY/samples/*.png, manifest.csv

Each image has the size and mode of its source, and depends on its seed and its source alone.
"""
from pathlib import Path

from stablesdg import run
from stablesdg.files import UserError

# The paper's Table I: s and w that it found best for each category of NEU and CCBSD.
TABLE_I = {"Cr": (0.2, 2), "In": (0.9, 9), "Pa": (0.4, 6), "PS": (0.5, 3), "RS": (0.1, 8), "Sc": (0.5, 7),
           "Inc": (0.5, 5), "Ind": (0.2, 7), "Ox": (0.6, 3), "SG": (0.5, 4)}
STRENGTH = 0.4
ADAPTERS = ("embedding", "lora", "full")
HEADER = ("file", "source", "seed", "s", "w", "sampler", "steps")


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python sample.py --strength 0.4")
    p.add_argument("--run", type=Path, help="run folder of a category (default: the one used last)")
    p.add_argument("--data", type=Path, help="folder of source images (default: the run's; its training part)")
    p.add_argument("--weights", help="diffusers folder or CompVis .safetensors (default: those the run was trained on)")
    p.add_argument("--adapters", default="all", help="all that the run has, none, or some of embedding,lora,full")
    p.add_argument("--out", type=Path, help="folder for the images (default: samples in the run folder)")
    method = p.add_argument_group("method")
    method.add_argument("--strength", type=float, help="s in (0, 1] (default: the recipe's, Table I's, or 0.4)")
    method.add_argument("--guidance", type=float, help="w (default: the recipe's, Table I's, or 5)")
    method.add_argument("--number", type=run.positive, default=100, help="images to make; the paper makes 1000")
    method.add_argument("--steps", type=run.positive, default=50, help="denoising steps of a full run; s times these are run")
    method.add_argument("--sampler", default="ddim", choices=["ddim", "ddpm", "paper"], help="paper is Algorithm 1")
    method.add_argument("--from-noise", action="store_true", help="start from pure noise instead of images (Table II)")
    method.add_argument("--uncond", default="adapted", choices=["adapted", "base"],
                        help="the unconditional branch runs with the adapters or without")
    method.add_argument("--compat", choices=["diffusers"], help="use the timesteps of diffusers' image-to-image pipeline")
    p.add_argument("--batch-size", type=run.positive, default=8, help="images at once; in float32 it changes an image by one gray level at most")
    run.add_common(p.add_argument_group("run"))
    p.add_argument("--resume", action="store_true", help="keep the images that an interrupted run has finished")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if args.strength is not None and not 0 < args.strength <= 1:
        raise UserError(f"--strength must lie in (0, 1], not {args.strength:g}.")
    if args.adapters not in ("all", "none") and (strange := set(args.adapters.split(",")) - set(ADAPTERS)):
        raise UserError(f"--adapters is all, none or some of {','.join(ADAPTERS)}, not {', '.join(sorted(strange))}.")
    folder = args.run or run.latest_run()
    record = run.read_run(folder)
    if not record:
        inside = sorted(f.parent.name for f in folder.glob("*/run.json"))
        raise UserError(f"{folder} is not a run folder (no run.json): " + (
            f"pass one of those in it, --run {folder / inside[0]} for example." if inside else
            "train_ti.py and train_lora.py make one."))

    import time

    import torch
    from tqdm import tqdm

    from stablesdg.data import read_batches, save_image, to_image
    from stablesdg.files import sha256
    from stablesdg.generate import generate, plan
    from stablesdg.split import load_split, part_files

    out = args.out or folder / "samples"
    if out.exists() and not (out / "manifest.csv").is_file() and any(out.iterdir()):
        raise UserError(f"{out} holds something else than generated images: pass another --out.")
    data = args.data or Path(record["data"])
    sources = part_files(load_split(run.split_file(data), [data]), data, "train")
    print(f"run: {folder}; sources: the {len(sources)} training images of {data}")
    sd = run.open_model(args, record)
    prompt, resolution = load_adapters(sd, folder, record, args)
    s, w = choose_strength_and_guidance(args, sd, folder.resolve().name)
    try:
        path = plan(sd, s, args.steps, args.sampler, args.compat)
    except ValueError as error:
        raise UserError(f"{error}.") from None
    print(f"prompt {prompt!r}, s = {s:g}, w = {w:g}, {args.sampler}: {len(path)} steps from t = {path[0][0]}")

    jobs = list_jobs(sources, args.number, args.seed)
    settings = {
        **{k: getattr(args, k) for k in ("seed", "steps", "sampler", "uncond", "from_noise", "compat", "adapters")},
        "s": s, "w": w, "prompt": prompt, "weights": sd.sha256, "data": str(data), "resolution": resolution,
        "adapter_files": [sha256(file) for file in sd.adapter_files], "dtype": str(sd.dtype), "device": sd.device.type}
    if args.resume and is_finished(out, jobs, settings):
        print(f"the {len(jobs)} images in {out} are already finished; leave out --resume to make them again")
        return
    partial = open_partial(out, args.resume, settings)
    started = time.monotonic()
    with tqdm(total=len(jobs), unit="image") as bar:
        for batch in read_batches(jobs, args.batch_size, resolution, sd.vae.factor):
            bar.update(len(batch))
            if all((partial / name).is_file() for (_, name, _), *_ in batch):
                continue  # by whole batches, so that a resumed call rounds as an uninterrupted one
            x = torch.stack([x for _, x, _, _ in batch])
            y = generate(sd, sd.latent_shape(x) if args.from_noise else x, [seed for (_, _, seed), *_ in batch], prompt,
                         strength=s, guidance=w, steps=args.steps, sampler=args.sampler, uncond=args.uncond,
                         compat=args.compat)
            for ((_, name, _), _, size, mode), image in zip(batch, y):
                save_image(partial / name, to_image(image, size, mode))
    seconds = time.monotonic() - started

    close_partial(partial, out, jobs, (f"{s:g}", f"{w:g}", args.sampler, args.steps), args.from_noise)
    save_pairs(folder / f"preview-{out.name}.png", out, jobs, f"generated, s = {s:g}, w = {w:g}")
    args.data, args.strength, args.guidance = data, s, w
    run.record(folder, "sample", args, sd, seconds)
    print(f"wrote {len(jobs)} images to {out} in {run.duration(seconds)}")


def load_adapters(sd, folder, record, args):
    """Load what the run learned, as far as --adapters asks for it. Returns (prompt, resolution) of the training."""
    from stablesdg.files import sha256

    files = {name: folder / f"{name}.safetensors" for name in ADAPTERS}
    stages = {"embedding": "ti", "lora": "lora", "full": "full"}
    there = [name for name in files if files[name].is_file()]
    wanted = there if args.adapters == "all" else [] if args.adapters == "none" else args.adapters.split(",")
    if missing := [name for name in wanted if name not in there]:
        raise UserError(f"{folder} has no {missing[0]}.safetensors: it has {', '.join(there) or 'no adapters'}.")
    if {"lora", "full"} <= set(wanted):
        raise UserError(f"{folder} has both lora and full.safetensors: choose with --adapters embedding,lora or embedding,full.")
    if "full" in wanted and args.uncond == "base":
        raise UserError("--uncond base needs the model without adapters, which a full adaptation has replaced: leave it out.")
    embedding = sha256(files["embedding"]) if "embedding" in there else None
    for name in ("full", "embedding", "lora"):
        if name not in wanted:
            continue
        learned_with = record["stages"].get(stages[name], {}).get("embedding_sha256")
        if name != "embedding" and learned_with != embedding and (learned_with or args.adapters == "all"):
            raise UserError(f"{files[name]} was trained with another embedding than {files['embedding']} holds now: run "
                            f"train_lora.py again, or leave it out with --adapters embedding.")
        {"embedding": sd.load_embedding, "lora": sd.load_lora, "full": sd.load_full}[name](files[name])
    print(f"adapters: {', '.join(wanted) or 'none'}")
    arguments = next(record["stages"][stage]["arguments"] for stage in ("lora", "full", "ti") if stage in record["stages"])
    return arguments["prompt"], run.pixels(arguments["resolution"])


def choose_strength_and_guidance(args, sd, category):
    """s and w: from the command line, else the recipe, else Table I for a category of that name, else 0.4 and 5."""
    strength = 1.0 if args.from_noise and args.strength is None else args.strength
    chosen = run.from_recipe(sd, "sample", strength=strength, guidance=args.guidance)
    s, w = chosen["strength"], chosen["guidance"]
    if args.from_noise and s != 1:
        raise UserError(f"--from-noise starts from pure noise, at s = 1: leave out --strength {s:g}.")
    if (s is None or w is None) and category in TABLE_I:
        print(f"the paper's Table I has s = {TABLE_I[category][0]}, w = {TABLE_I[category][1]} for {category}")
    s_default, w_default = TABLE_I.get(category, (STRENGTH, run.GUIDANCE))
    return (s_default if s is None else s), (w_default if w is None else w)


def list_jobs(sources, number, seed):
    """[(source, file name, seed of the image), ..]: every source once before any is used again."""
    import torch

    order = torch.randperm(len(sources), generator=torch.Generator().manual_seed(seed)).tolist()
    return [(sources[order[i % len(order)]], f"{i:05d}.png", seed * 1_000_000 + i) for i in range(number)]


def is_finished(out, jobs, settings):
    """Whether `out` already holds the images of these jobs, made with these settings."""
    import json

    from stablesdg.files import read_csv, read_json

    return ((out / "manifest.csv").is_file() and (out / "settings.json").is_file()
            and read_json(out / "settings.json") == json.loads(json.dumps(settings))
            and [row["file"] for row in read_csv(out / "manifest.csv")] == [name for _, name, _ in jobs])


def open_partial(out, resume, settings):
    """The folder that images are written to until all are there; an interrupted one is kept if it has the same settings."""
    import shutil

    from stablesdg.files import read_json, write_json

    if out.exists():
        print(f"the images in {out} will be replaced when these are finished; another --out would keep both")
    partial = out.with_name(out.name + ".partial")
    if partial.exists() and resume and (partial / "settings.json").is_file():
        before = read_json(partial / "settings.json")
        if changed := [k for k in settings if before.get(k) != settings[k]]:
            raise UserError(f"{partial} was begun with other settings ({', '.join(changed)}): repeat those, or start "
                            "without --resume.")
    elif partial.exists():
        shutil.rmtree(partial)
    write_json(partial / "settings.json", settings)
    return partial


def close_partial(partial, out, jobs, settings, from_noise):
    """Write the manifest and put the folder in its place; images of an earlier call go."""
    import shutil

    from stablesdg.files import write_csv

    write_csv(partial / "manifest.csv", HEADER, [
        (name, "" if from_noise else f"{source.parent.resolve().name}/{source.name}", seed, *settings)
        for source, name, seed in jobs])
    for stray in {f.name for f in partial.iterdir()} - {name for _, name, _ in jobs} - {"manifest.csv", "settings.json"}:
        (partial / stray).unlink()
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)


def save_pairs(path, out, jobs, label, count=8):
    """A grid of the first sources and what was made of them."""
    from stablesdg.data import read_image, save_image
    from stablesdg.report import image_grid

    shown = jobs[:count]
    save_image(path, image_grid([("sources", [read_image(source)[0] for source, _, _ in shown]),
                                 (label, [read_image(out / name)[0] for _, name, _ in shown])]))


if __name__ == "__main__":
    run.main(main)
