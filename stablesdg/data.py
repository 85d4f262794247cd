"""Images in and out: any size, gray or colour, and back in the size and mode they came in."""
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from .files import UserError, atomic_path

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


def list_images(folder):
    """The image files of one folder, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in EXTENSIONS and not f.name.startswith("."))
    if not files:
        inside = [f.name for f in sorted(folder.iterdir()) if f.is_dir() and not f.name.startswith(".")]
        advice = f": it holds the folders {', '.join(inside[:8])}, pass one of those" if inside else ""
        raise UserError(f"{folder} holds no images ({', '.join(sorted(EXTENSIONS))}){advice}.")
    return files


def list_categories(folder):
    """The subfolders that hold images, sorted by name: one for each class."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    found = [f for f in sorted(folder.iterdir()) if f.is_dir() and not f.name.startswith(".")
             and any(x.suffix.lower() in EXTENSIONS for x in f.iterdir())]
    if not found:
        above = any(f.suffix.lower() in EXTENSIONS for f in folder.iterdir())
        raise UserError(f"{folder} holds no folders of images: it should have one folder for each class"
                        + (f", as the folder above it may ({folder.resolve().parent})." if above else "."))
    return found


def read_image(path):
    """(RGB image, its own mode "L" or "RGB"). 16-bit gray (0..65535) is brought to 8 bits; transparency is dropped."""
    path = Path(path)
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}): repair or remove it.") from None
    if image.mode.startswith("I;16") or (image.mode == "I" and path.suffix.lower() == ".png"):  # older Pillows say I
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))
    elif image.mode.startswith(("I", "F")):
        raise UserError(f"{path} has 32-bit pixels, whose black and white are unknown: save it with 8 or 16 bits.")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return image.convert("RGB"), mode


def fit_size(width, height, resolution, multiple):
    """(width, height) with the shorter side near `resolution`, or unscaled if it is None; multiples of `multiple`."""
    scale = resolution / min(width, height) if resolution else 1
    return tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))


def to_tensor(image):
    """RGB image -> (3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def to_image(x, size=None, mode="RGB"):
    """(3, H, W) in [-1, 1] -> image of `size` (width, height) and `mode`. Rounds to the nearest of 256 levels."""
    values = ((x.float().cpu() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    image = Image.fromarray(values.permute(1, 2, 0).numpy())
    if size and image.size != tuple(size):
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image.convert(mode)


def read_fitted(path, resolution, multiple):
    """(tensor (3, H, W) in [-1, 1], original size, mode), resized with an antialiasing filter where needed."""
    image, mode = read_image(path)
    original = image.size
    size = fit_size(*original, resolution, multiple)
    if size != original:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return to_tensor(image), original, mode


def read_batches(jobs, batch_size, resolution, multiple):
    """Lists of (job, tensor, original size, mode), at most batch_size images of one tensor shape at a time.

    A job is a tuple whose first element is the image's path; it is passed through.
    """
    batch = []
    for job in jobs:
        read = read_fitted(job[0], resolution, multiple)
        if batch and (len(batch) == batch_size or batch[0][1].shape != read[0].shape):
            yield batch
            batch = []
        batch.append((job, *read))
    if batch:
        yield batch


def augment(x, seed):
    """Classic augmentation of x (3, H, W): a rotation by up to 10 degrees, without dark corners, and random mirroring."""
    from torchvision.transforms.functional import InterpolationMode, pad, rotate

    generator = torch.Generator().manual_seed(seed)
    angle = float(torch.rand((), generator=generator)) * 20 - 10
    flips = [axis for axis in (1, 2) if torch.rand((), generator=generator) < 0.5]
    height, width = x.shape[1:]
    margin = min(height, width) // 6
    x = rotate(pad(x, [margin], padding_mode="reflect"), angle, InterpolationMode.BILINEAR)
    return x[:, margin:margin + height, margin:margin + width].flip(flips)


def save_image(path, image):
    with atomic_path(path) as temporary:
        image.save(temporary)


@torch.no_grad()
def encode_images(sd, files, resolution):
    """[(mean, logvar), ..]: the VAE posterior of each image, on the CPU, (4, h, w) each.

    The posterior is kept, never one draw from it: training draws afresh at every step.
    """
    posteriors = []
    for file in files:
        x, _, _ = read_fitted(file, resolution, sd.vae.factor)
        mean, logvar = sd.vae.encode(x[None].to(sd.device, sd.fine_dtype))
        posteriors.append((mean[0].cpu(), logvar[0].cpu()))
    return posteriors
