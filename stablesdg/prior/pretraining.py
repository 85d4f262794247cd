"""All stages of pretraining in their order, and the folder that comes out of them."""
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ..evaluate.features import HEADS
from ..models.stable_diffusion import StableDiffusion, load_stable_diffusion
from ..models.vae import VAE
from ..storage.errors import UserError
from ..storage.files import atomic_folder, read_optional_json, write_json
from ..storage.tensors import read_metadata, save_tensors
from ..text import TextEncoder
from ..weights.export import write_folder
from ..weights.read import weights_sha256
from . import feature_network
from .autoencoder import AutoencoderSettings, pretrain_autoencoder
from .denoiser import DenoiserSettings, pretrain_denoiser
from .loop import Loop, Row, parts_of
from .model_card import model_card
from .photographs import FOLDER, Photographs, open_pack, write_pack
from .pool import HELD_OUT, Artist, Pool, draw_pool, parted
from .text_encoder import TextSettings, pretrain_text_encoder

STAGES = ("autoencoder", "features", "text", "unet")
STARTED = "start.json"  # in the work folder: the prior that the training started from
LARGE_DIVISOR = 4  # one large image for so many of the others

# What adapting this prior wants different from the paper, which speaks of Stable Diffusion.
RECIPE = {"all": {"resolution": "native", "crop": 128}, "train_ti": {"lr": 5e-3}, "train_lora": {"lr": 2e-3},
          "train_full": {"lr": 1e-4}, "sample": {"strength": 0.4, "guidance": 1.5},
          "tune": {"guidances": [1.0, 1.5, 2.0, 3.0, 5.0]}}


@dataclass(frozen=True)
class PriorSettings:
    """What the prior depends on, but for the photographs and how long each stage is trained.

    images         to draw, of `side` pixels; a quarter as many of `large_side`
    held_out       images of each source that are measured and never trained on
    photo_share    of the images, if there are photographs
    """
    images: int = 24000
    side: int = 128
    large_side: int = 200
    held_out: int = 96
    photo_share: float = 0.75
    seed: int = 0
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    features: feature_network.FeatureSettings = field(default_factory=feature_network.FeatureSettings)
    text: TextSettings = field(default_factory=TextSettings)
    unet: DenoiserSettings = field(default_factory=DenoiserSettings)


@dataclass(frozen=True)
class Material:
    """What all stages learn from. `held_out` has one pool for each kind of source."""
    pool: Pool
    large: Callable[[], Pool]  # of larger images, drawn when a stage asks for them
    held_out: Mapping[str, Pool]
    photographs: Photographs | None
    name: str

    def all_held_out(self) -> Pool:
        """The held-out images of all sources as one pool."""
        pools = list(self.held_out.values())
        return Pool(torch.cat([pool.images for pool in pools]), [c for pool in pools for c in pool.captions],
                    [a for pool in pools for a in pool.attributes])


@dataclass
class Done:
    """What the stages have made so far, and the rows of their logs."""
    autoencoder: VAE | None = None
    features: feature_network.NamingNetwork | None = None
    text: TextEncoder | None = None
    unet: StableDiffusion | None = None
    rows: dict[str, list[Row]] = field(default_factory=dict)


def open_photographs(source: Path | None, work: Path) -> Photographs | None:
    """The photographs of a pack, or of a folder, which is packed into `work` first.

    Raises UserError if `work` holds a pack of another folder.
    """
    if source is None or source.is_file():
        return open_pack(source) if source else None
    pack = work / "photographs.safetensors"
    if not pack.is_file():
        write_pack(source, pack)
    elif (packed := read_metadata(pack).get(FOLDER)) not in (None, str(source.resolve())):
        raise UserError(f"{pack} holds photographs of {packed}, not of {source}: pass another --work, or delete it.")
    return open_pack(pack)


def draw_material(settings: PriorSettings, photographs: Photographs | None, work: Path) -> Material:
    """Draw the images that training needs, once, into `work`."""
    train, kept_out = parted(photographs) if photographs else (None, None)
    artist = Artist(train, settings.photo_share, settings.seed, settings.side)
    wide_artist = Artist(train, settings.photo_share, settings.seed, settings.large_side)
    strangers = {"drawn": Artist(None, 0.0, settings.seed, settings.side)}
    if kept_out:
        strangers["photographs"] = Artist(kept_out, 1.0, settings.seed, settings.side)
    held_out = {name: draw_pool(work, other, settings.held_out, HELD_OUT) for name, other in strangers.items()}
    large = functools.partial(draw_pool, work, wide_artist, max(1, settings.images // LARGE_DIVISOR), settings.images)
    return Material(draw_pool(work, artist, settings.images), large, held_out, photographs, artist.name())


def pretrain(settings: PriorSettings, loops: Mapping[str, Loop], photographs: Path | None, work: Path, out: Path,
             wanted: tuple[str, ...], device: torch.device, start: Path | None = None) -> None:
    """Train the wanted stages as far as their loops go. Write the folder `out` once all stages are finished.

    start  a finished prior that they go on from, if `work` holds no start yet
    """
    work.mkdir(parents=True, exist_ok=True)
    if start and not is_begun(work):
        write_json(work / STARTED, {"prior": weights_sha256(start)})
        write_starts(start, settings, work)
    elif start and read_optional_json(work / STARTED).get("prior") != weights_sha256(start):
        raise UserError(f"{work} holds a training that did not start from {start}: pass another --work, or leave out "
                        "--start.")
    material = draw_material(settings, open_photographs(photographs, work), work)
    done = Done()
    for stage in STAGES:
        if stage in wanted or (work / f"{stage}.safetensors").is_file():
            torch.manual_seed(settings.seed)  # the weights that a stage starts from
            if not train_stage(stage, settings, loops[stage], material, work, device, done):
                return
    if len(done.rows) == len(STAGES):
        write_prior(settings, loops, material, done, out, [stage for stage in STAGES if parts_of(work, stage)])


def is_begun(work: Path) -> bool:
    """Whether a work folder holds a start, a checkpoint or the end of a stage."""
    return any(parts_of(work, stage) or (work / f"checkpoint-{stage}.safetensors").is_file()
               or (work / f"{stage}.safetensors").is_file() for stage in STAGES)


def write_starts(prior: Path, settings: PriorSettings, work: Path) -> None:
    """Let autoencoder, feature network and UNet start from a finished prior.

    The text encoder is made anew, because its words are those of the captions. So are heads of the feature network
    that the prior does not have.
    """
    sd = load_stable_diffusion(prior)
    known = feature_network.load_naming_network(prior / "features.safetensors").state_dict()
    torch.manual_seed(settings.seed)
    features = feature_network.new_network(settings.features).state_dict()
    features |= {name: value for name, value in known.items()
                 if name in features and features[name].shape == value.shape}
    for stage, tensors in (("autoencoder", sd.vae.state_dict()), ("features", features),
                           ("unet", sd.unet.state_dict())):
        save_tensors(work / f"start-{stage}-0.safetensors",
                     {name: value.contiguous() for name, value in tensors.items()})


def train_stage(stage: str, settings: PriorSettings, loop: Loop, material: Material, work: Path, device: torch.device,
                done: Done) -> bool:
    """Train one stage into `done`, or read it from `work`. Returns whether it is finished."""
    pool, held_out, name = material.pool, material.held_out, material.name
    if stage == "autoencoder":
        done.autoencoder, rows = pretrain_autoencoder(pool, held_out, settings.autoencoder, loop, work, device, name)
    elif stage == "features":
        done.features, rows = feature_network.pretrain_features(
            pool, material.large(), material.all_held_out(), settings.features, loop, work, device, name)
    elif stage == "text":
        done.text, rows = pretrain_text_encoder(pool, material.all_held_out(), settings.text, loop, work, device, name)
    else:
        if done.autoencoder is None or done.text is None:
            raise UserError("The UNet needs the finished autoencoder and text encoder: train these stages first.")
        done.unet, rows = pretrain_denoiser(done.autoencoder, done.text, pool, material.large(), held_out,
                                            settings.unet, loop, work, device)
    if rows is not None:
        done.rows[stage] = rows
    return rows is not None


def write_prior(settings: PriorSettings, loops: Mapping[str, Loop], material: Material, done: Done, out: Path,
                continued: Sequence[str]) -> None:
    """The official layout, features.safetensors, recipe.json and a model card. Nothing appears until all is there.

    continued  stages that did not start from random weights
    """
    assert done.unet and done.text and done.features and done.autoencoder
    sizes = settings.autoencoder
    unet_sizes = settings.unet.sizes(sizes.latent_channels, settings.text.hidden_size, done.unet.unet.sample_size)
    with atomic_folder(out) as folder:
        write_folder(done.unet, folder, unet_sizes, sizes.sizes(), asdict(settings.unet.schedule))
        save_tensors(folder / "features.safetensors",
                     {name: value.half() if value.is_floating_point() else value
                      for name, value in done.features.state_dict().items()
                      if not name.startswith(f"{HEADS}{feature_network.TEACHER}.")})
        write_json(folder / "recipe.json", RECIPE)
        card = model_card(settings, loops, material.photographs, done.rows, continued)
        (folder / "README.md").write_text(card, encoding="utf-8")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"wrote {out} ({size / 2**20:.1f} MiB)")


def deadline(hours: float | None) -> float:
    """The time.monotonic() that is so many hours from now."""
    return time.monotonic() + 3600 * hours if hours else math.inf
