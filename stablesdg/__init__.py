"""StableSDG: expand a small set of defect images with a text-to-image diffusion prior.

The paper is in five files. Read them in this order:

    diffusion    z_t of eq. (1), eq. (2): noise schedule, guidance and sampler steps, as pure functions
    text         eq. (3): learned vectors v_d in the place of a token
    lora         eq. (4): W0 + BA
    train        eq. (1): the loss and the loop that learns v_d, BA or all weights
    generation   Algorithm 1: image-oriented generation

What they stand on, and what stands on them, lies in rooms. Each room says in its __init__ what to read first.

    models/      attention, UNet, VAE, and StableDiffusion, which holds them
    weights/     official files, key names, adapter files
    data/        images, folders, split, overlap
    evaluate/    FID and its features, novelty, the search for s and w
    compose/     a defect on another ground, welded by the prior
    rivals/      what the paper compares with: DCGAN, StyleGAN3, diffusion from scratch
    recognise/   classifiers, the arms of the experiment, significance, the plan
    prior/       how weights/nano was made
    report/      pictures, report.html
    storage/     safe files
    app/         command lines and run folders

In Python: `from stablesdg import load_stable_diffusion, generate`.
"""
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .generation import generate as generate
    from .models.stable_diffusion import load_stable_diffusion as load_stable_diffusion

if sys.version_info < (3, 10):  # noqa: UP036 - said here, before any file that an older one cannot read
    sys.exit("error: Python 3.10 or newer is needed; with make, say which: make PYTHON=python3.12 ...")

PUBLIC = {"generate": ".generation", "load_stable_diffusion": ".models.stable_diffusion"}  # and their modules
__version__ = "0.2.0"
__path__.append(str(Path(__file__).parent / "app" / "commands"))  # python -m stablesdg.split runs app/commands/split.py


def __getattr__(name: str) -> Any:
    """Import torch only when a name is used, so that --help is quick."""
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
