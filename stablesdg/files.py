"""Folders of images, files that are never half-written, hashes, and errors a user can act on."""
import contextlib
import csv
import hashlib
import json
import os
import tempfile
from pathlib import Path

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


class UserError(ValueError):
    """What is wrong and what to do about it, in one sentence. Scripts print it and exit with code 1."""


@contextlib.contextmanager
def atomic_path(path):
    """A temporary path beside `path`, renamed to it when the block ends well and removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "r+b") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def write_json(path, value):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): restore or delete it.") from None


def write_csv(path, header, rows):
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path):
    """Rows as dictionaries."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def save_tensors(path, tensors, metadata=None):
    """Write a safetensors file: {name: tensor} and {str: str}."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", **(metadata or {})})
        _sort_metadata(temporary)


def _sort_metadata(path):
    """safetensors writes metadata in an order that changes from process to process; equal content, equal bytes."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # the same content: only padding can differ
            file.seek(8)
            file.write(text.ljust(length))


def load_tensors(path):
    """Read a safetensors file: {name: tensor}, {str: str}. Anything else is refused by name."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    if path.suffix in (".ckpt", ".bin", ".pt", ".pth"):
        raise UserError(pickle_refusal(path))
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file ({error}): fetch or make it again.") from None


def pickle_refusal(path):
    path = Path(path)
    code = (f"import torch, safetensors.torch as s; d = torch.load('{path.as_posix()}', weights_only=True); "
            f"s.save_file({{k: v.contiguous().clone() for k, v in d.get('state_dict', d).items() "
            f"if hasattr(v, 'shape')}}, '{path.with_suffix('.safetensors').as_posix()}')")
    return (f"{path} is a pickle, which can run any code when it is opened: fetch the .safetensors file of the same name, "
            f"or convert it once with python -c \"{code}\" (which refuses files that hold more than tensors).")


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


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file):
    """hashlib.file_digest for Python 3.10."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
