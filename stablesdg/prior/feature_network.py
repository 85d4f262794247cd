"""The second stage: the feature network of `fid.py --features nano`, of novelty and of the teacher.

It learns several things at once. Two crops of one image have like features, and unlike those of the other images (Chen
et al. 2020, SimCLR). Features tell the attributes of the image that they came from. They tell how blurred, noisy and
compressed it was made. Where there is a teacher, a large network that was trained before, they tell that network's
features of the same crop (distillation, Romero et al. 2015, FitNets).
"""
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import to_tensor

from ..evaluate.features import HEADS, WIDTHS, FeatureNetwork, read_feature_tensors, widths_of
from ..evaluate.imagenet import ImageNetFeatures
from .descriptions import PHOTOGRAPH_ATTRIBUTES
from .loop import Loop, Row, fit
from .pool import Pool
from .text_encoder import cross_entropies, labels, rightly_named

DEGRADATIONS = ("blurred", "noisy", "compressed")  # each by 0 to 1
OUTPUTS = {**{name: len(values) for name, values in PHOTOGRAPH_ATTRIBUTES.items()}, "degradation": len(DEGRADATIONS)}
TEACHER = "teacher"  # the head that tells its features
TEACHERS = {"none": 0, "imagenet": 1280}  # teacher -> number of its features
TEACHER_SIDE = 160  # pixels of the images that a teacher sees
MEASURED_IMAGES = 600  # from which a teacher's deviations are taken
MIN_DEVIATION = 0.1  # of the mean one: no feature is taken for less variable
MAX_BLUR, MAX_NOISE, WORST_QUALITY = 3.0, 20.0, 5  # of degradations of 1: pixels, gray levels, JPEG quality


@dataclass(frozen=True)
class FeatureSettings:
    """
    crop               side of the training crops, in pixels; large_crop of those from large images
    large_share        of the steps, which take large images, fewer at once because their crops are larger
    degraded           share of crops that each degradation is applied to
    degradation_weight of its squared error in the loss
    contrast_weight    of the contrast between images in the loss; temperature is that of its softmax
    teacher            "imagenet" (evaluate/imagenet.py) or "none"; teacher_weight of what it says in the loss
    """
    widths: tuple[int, ...] = WIDTHS
    crop: int = 96
    large_crop: int = 160
    large_share: float = 0.25
    degraded: float = 0.3
    degradation_weight: float = 10.0
    contrast_weight: float = 1.0
    temperature: float = 0.2
    teacher: str = "none"
    teacher_weight: float = 20.0


class NamingNetwork(FeatureNetwork):
    """A feature network with a head for each attribute and one for the degradations."""

    def __init__(self, widths: Sequence[int], outputs: dict[str, int]) -> None:
        super().__init__(widths)
        self.heads = nn.ModuleDict({name: nn.Linear(widths[-1], n) for name, n in outputs.items()})

    def name(self, features: Tensor) -> dict[str, Tensor]:
        """{attribute: logits (B, values), "degradation": strengths (B, 3)} of features (B, widths[-1])."""
        return {name: head(features) for name, head in self.heads.items()}


def new_network(settings: FeatureSettings) -> NamingNetwork:
    """The network of these settings, with random weights and with a head for the teacher if there is one."""
    told = TEACHERS[settings.teacher]
    return NamingNetwork(settings.widths, OUTPUTS | ({TEACHER: told} if told else {}))


def load_naming_network(file: str | Path) -> NamingNetwork:
    """The frozen network of a features.safetensors, with the heads that the file has."""
    tensors = read_feature_tensors(Path(file))
    outputs = {name.split(".")[1]: len(value) for name, value in tensors.items()
               if name.startswith(HEADS) and name.endswith(".bias")}
    network = NamingNetwork(widths_of(tensors), outputs)
    network.load_state_dict(tensors)
    return network.requires_grad_(False).eval()


@dataclass(frozen=True)
class Teacher:
    """A network that was trained before. `mean` and `deviation` (C,) are of its features over training images."""
    network: nn.Module
    mean: Tensor
    deviation: Tensor

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Square images (B, 3, H, H) in [0, 1] -> (B, C), in units of their deviation."""
        return (tell(self.network, x) - self.mean) / self.deviation


def tell(network: nn.Module, x: Tensor) -> Tensor:
    """A teacher's features (B, C) of images, all enlarged or shrunk to one side: for small ones most of them are 0."""
    return network(F.interpolate(x, (TEACHER_SIDE, TEACHER_SIDE), mode="bilinear")).float()


@torch.no_grad()
def open_teacher(settings: FeatureSettings, pool: Pool, device: torch.device) -> Teacher | None:
    """The teacher that the settings name. Raises UserError if its packages are not installed."""
    if settings.teacher == "none":
        return None
    network = ImageNetFeatures().to(device)
    indices = range(0, len(pool), max(1, len(pool) // MEASURED_IMAGES))
    x, _, _ = views(pool, indices, settings, torch.Generator().manual_seed(1), settings.crop)
    told = torch.cat([tell(network, part.to(device)) for part in x.split(50)])
    deviation = told.std(dim=0)
    return Teacher(network, told.mean(dim=0), deviation.clamp(min=MIN_DEVIATION * deviation.mean()))


def pretrain_features(pool: Pool, large: Pool, held_out: Pool, settings: FeatureSettings, loop: Loop, work: Path,
                      device: torch.device, data: str) -> tuple[NamingNetwork, list[Row] | None]:
    """Returns (NamingNetwork, rows of its log or None)."""
    teacher = open_teacher(settings, pool, device)
    network = new_network(settings).to(device)
    x_held_out, y_held_out, strengths_held_out = views(held_out, range(len(held_out)), settings,
                                                       torch.Generator().manual_seed(0), None)
    x_held_out = x_held_out.to(device)
    told_held_out = torch.cat([teacher.features(x) for x in x_held_out.split(50)]) if teacher else None

    def loss_at(generator: torch.Generator, progress: float) -> Tensor:
        is_large = float(torch.rand((), generator=generator)) < settings.large_share
        images, side = (large, settings.large_crop) if is_large else (pool, settings.crop)
        n = max(2, loop.batch_size * settings.crop**2 // (2 * side**2))
        indices = torch.randint(0, len(images), (n,), generator=generator).tolist()
        x, told, strengths = views(images, indices * 2, settings, generator, side)  # two crops of each image
        x = x.to(device)
        features = network.train()(x).float()
        named = network.name(features)
        attributes = cross_entropies({name: (named[name], value.to(device)) for name, value in told.items()})
        degradation = F.mse_loss(named["degradation"], strengths.to(device))
        loss = (attributes + settings.degradation_weight * degradation
                + settings.contrast_weight * contrast(features, settings.temperature))
        if teacher:
            loss = loss + settings.teacher_weight * F.smooth_l1_loss(named[TEACHER], teacher.features(x))
        return loss

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        """Share of held-out images whose attribute is named rightly; correlation with how they were degraded; share of
        the variance of the teacher's features that is told."""
        named = network.eval().name(network(x_held_out))
        row = {name: rightly_named(named[name].cpu(), told) for name, told in y_held_out.items()}
        for k, kind in enumerate(DEGRADATIONS):
            both = torch.stack([named["degradation"][:, k].cpu(), strengths_held_out[:, k]])
            row[kind] = float(torch.corrcoef(both)[0, 1])
        if told_held_out is not None:
            row[TEACHER] = float(1 - (named[TEACHER] - told_held_out).square().mean() / told_held_out.var(dim=0).mean())
        return row

    rows = fit("features", network, loss_at, loop, work, evaluate, {**asdict(settings), "data": data})
    return network.eval(), rows


def contrast(features: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding an image's other crop among all crops.

    features (2 B, C): of the first crops of B images, then of their second crops.
    """
    unit = F.normalize(features - features.mean(dim=0), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    likeness = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    return F.cross_entropy(likeness, partner)


def views(pool: Pool, indices: Sequence[int], settings: FeatureSettings, generator: torch.Generator,
          side: int | None) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """(images (B, 3, side, side) in [0, 1], {attribute: labels (B,)}, degradations (B, 3)).

    The images are random crops, or whole if side is None.
    """
    corners = torch.rand(len(indices), 2, generator=generator)
    strengths = torch.rand(len(indices), len(DEGRADATIONS), generator=generator)
    strengths = torch.where(torch.rand(strengths.shape, generator=generator) < settings.degraded, strengths, 0)
    x = torch.stack([degrade(crop(pool.images[i], corner, side), strength.tolist(), generator)
                     for i, corner, strength in zip(indices, corners, strengths)])
    return x, labels(pool, indices), strengths


def crop(image: Tensor, corner: Tensor, side: int | None) -> Tensor:
    """A square of `side` pixels of the image (3, H, W), at `corner` (2,) between 0 and 1. All of it if side is None."""
    if side is None:
        return image
    top, left = (int(c * (full - side + 1)) for c, full in zip(corner, image.shape[1:]))
    return image[:, top:top + side, left:left + side]


def degrade(image: Tensor, strengths: Sequence[float], generator: torch.Generator) -> Tensor:
    """image (3, H, W) uint8 -> (3, H, W) in [0, 1], blurred, made noisy and compressed by strengths of 0 to 1 each."""
    blurred, noisy, compressed = strengths
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    if blurred:
        picture = picture.filter(ImageFilter.GaussianBlur(0.3 + (MAX_BLUR - 0.3) * blurred))
    if noisy:
        noise = MAX_NOISE * noisy * torch.randn(image.shape[1:], generator=generator).numpy()
        picture = Image.fromarray((np.asarray(picture) + noise[..., None]).clip(0, 255).astype(np.uint8))
    if compressed:
        with io.BytesIO() as file:
            picture.save(file, "JPEG", quality=round(85 - (85 - WORST_QUALITY) * compressed))
            picture = Image.open(file).copy()
    return to_tensor(picture)
