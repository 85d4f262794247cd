"""A folder of generated images: which are to be made, what is kept when a call is interrupted, and the manifest."""
import json
import shutil

import torch

from .data import read_image, save_image
from .files import UserError, read_csv, read_json, write_csv, write_json
from .report import image_grid

HEADER = ("file", "source", "seed", "s", "w", "sampler", "steps", "novelty", "nearest", "ssim")


def list_jobs(sources, number, seed):
    """[(source, file name, seed of the image), ..]: every source once before any is used again."""
    order = torch.randperm(len(sources), generator=torch.Generator().manual_seed(seed)).tolist()
    return [(sources[order[i % len(order)]], f"{i:05d}.png", seed * 1_000_000 + i) for i in range(number)]


def check_folder(out):
    """Refuse a folder that holds anything else than what `close_partial` wrote: it would be deleted at the end."""
    if not out.exists():
        return
    rows = read_csv(out / "manifest.csv") if (out / "manifest.csv").is_file() else []
    own = {"manifest.csv", "settings.json"} | {row.get("file") for row in rows}
    if strange := sorted(f.name for f in out.iterdir() if f.name not in own | {".DS_Store"}):
        raise UserError(f"{out} holds something else than generated images ({strange[0]}): pass another --out.")


def is_finished(out, settings):
    """Whether `out` already holds images made with these settings."""
    return ((out / "manifest.csv").is_file() and (out / "settings.json").is_file()
            and read_json(out / "settings.json") == json.loads(json.dumps(settings)))


def open_partial(out, resume, settings):
    """(folder that images are written to until all are there, {file name: its row in it}).

    What an interrupted call left there is kept if it was made with the same settings, however many it was to make.
    """
    if out.exists():
        print(f"the images in {out} will be replaced when these are finished; another --out would keep both")
    partial = out.with_name(out.name + ".partial")
    if partial.exists() and resume and (partial / "settings.json").is_file():
        before, now = read_json(partial / "settings.json"), json.loads(json.dumps(settings))
        if changed := [k for k in now if before.get(k) != now[k] and k != "number"]:
            raise UserError(f"{partial} was begun with other settings ({', '.join(changed)}): repeat those, or start "
                            "without --resume.")
    elif partial.exists():
        shutil.rmtree(partial)
    write_json(partial / "settings.json", settings)
    made = read_json(partial / "made.json") if (partial / "made.json").is_file() else {}
    return partial, made


def keep(partial, made, name, image, row):
    """Write one image and remember its row; image and row are None for one that was given up."""
    if image is not None:
        save_image(partial / name, image)
    made[name] = row


def close_partial(partial, out, jobs, made):
    """Write the manifest and put the folder in its place; images of an earlier call go. Returns the rows."""
    rows = [made[name] for _, name, _ in jobs if made[name]]
    if not rows:
        raise UserError(f"No image was novel enough, so {out} was not written: lower --min-novelty or raise --strength.")
    write_csv(partial / "manifest.csv", HEADER, [tuple(row[key] for key in HEADER) for row in rows])
    check_folder(out)  # much may have happened since the start
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)
    for stray in {f.name for f in out.iterdir()} - {row["file"] for row in rows} - {"manifest.csv", "settings.json"}:
        (out / stray).unlink()
    return rows


def save_pairs(path, out, rows, sources, label, count=8):
    """A grid of the first sources and what was made of them."""
    shown = rows[:count]
    save_image(path, image_grid([("sources", [read_image(sources[row["file"]])[0] for row in shown]),
                                 (label, [read_image(out / row["file"])[0] for row in shown])]))


def source_name(file):
    return f"{file.parent.resolve().name}/{file.name}"

