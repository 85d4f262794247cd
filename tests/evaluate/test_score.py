"""The measures beside FID, the cache of features, and novelty, against independent implementations."""
import json

import numpy as np
import pytest
import torch
from commands import here
from PIL import Image

from stablesdg.data.augment import augment
from stablesdg.data.images import save_image, to_tensor
from stablesdg.evaluate.extract import cached_features, extract_features, network_key
from stablesdg.evaluate.features import load_feature_network
from stablesdg.evaluate.frechet import frechet_distance, frechet_infinity
from stablesdg.evaluate.kernel import kernel_distance
from stablesdg.evaluate.neighbours import neighbour_scores
from stablesdg.evaluate.novelty import NoveltyMeter, novelty_unit, ssim
from stablesdg.evaluate.score import format_score, score
from stablesdg.prior.textures import draw


def features(n, d=24, seed=0, shift=0.0, mix=1):
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(mix).normal(size=(d, d)) / d**0.5
    return rng.normal(size=(n, d)) @ basis + shift


def test_kid_equals_torch_fidelity():
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = features(120), features(90, seed=1, shift=0.2)
    theirs = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=20, kid_subset_size=50,
                                    kid_degree=3, kid_gamma=None, kid_coef0=1, rng_seed=7, verbose=False,
                                    kid_kernel="poly")
    mean, sd = kernel_distance(x, y, subsets=20, subset_size=50, seed=7)
    assert mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert sd == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


def test_kid_is_unbiased_also_for_few_images():
    """Two halves of one distribution: the mean over many pairs is zero, within its standard error."""
    values = [kernel_distance(features(24, seed=2 * k), features(24, seed=2 * k + 1), subsets=5)[0] for k in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / len(values) ** 0.5


@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_and_coverage_equal_the_prdc_package(k):
    from prdc import compute_prdc

    x, y = features(80), features(60, seed=1, shift=0.4)
    theirs = compute_prdc(real_features=x, fake_features=y, nearest_k=k)
    ours = vars(neighbour_scores(x, y, k))
    assert len(ours) == 4 and ours == pytest.approx({key: float(theirs[key]) for key in ours}, abs=1e-12)


def test_ssim_equals_scikit_image():
    from skimage.metrics import structural_similarity

    a = draw(3).image.mean(-1)
    b = draw(3).image.mean(-1) + 20 * np.random.default_rng(0).standard_normal(a.shape)
    theirs = structural_similarity(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                   win_size=11)
    assert float(ssim(torch.from_numpy(a), torch.from_numpy(b))) == pytest.approx(theirs, abs=1e-9)
    assert float(ssim(torch.from_numpy(a), torch.from_numpy(a))) == pytest.approx(1)


def test_fid_infinity_takes_away_the_bias_of_small_sets():
    """The distance of two normal distributions is known. That of 100 samples is far above, the extrapolation near."""
    d = 24
    exact = d * 0.3**2
    x, errors = features(4000), {"plain": [], "infinity": []}
    for seed in range(1, 6):
        y = features(200, seed=seed, shift=0.3)
        errors["plain"].append(frechet_distance(x, y) - exact)
        errors["infinity"].append(frechet_infinity(x, torch.from_numpy(y)) - exact)
    assert abs(np.mean(errors["infinity"])) < 0.3 * np.mean(errors["plain"])


def test_the_floor_of_a_perfect_generator_equals_its_distance_at_equal_numbers():
    result = score(features(300), features(300, seed=1))
    assert result.equal.distance == pytest.approx(result.equal.floor, rel=0.15) and result.equal.n == 150
    worse = score(features(300), features(300, seed=1, shift=0.5))
    assert worse.equal.distance > 2 * worse.equal.floor and worse.kid[0] > 5 * worse.kid[1] / 10**0.5
    assert worse.interval[0] < worse.fid < worse.interval[1]
    text = format_score(worse, "FID")
    assert "the floor" in text and "KID" in text and "coverage" in text


def test_half_of_the_interval_is_1_96_times_the_deviation_of_distances_of_other_generated_sets():
    real = features(300)
    results = [score(real, features(200, seed=seed, shift=0.4)) for seed in range(1, 41)]
    half = np.mean([(one.interval[1] - one.interval[0]) / 2 for one in results])
    assert half == pytest.approx(1.96 * np.std([one.fid for one in results]), rel=0.3)


@pytest.mark.parametrize("n, m", [(2, 2), (3, 2), (5, 40)])
def test_very_small_sets_are_scored_as_far_as_they_go(n, m):
    result = score(features(n), features(m, seed=1))
    assert np.isfinite(result.fid) and format_score(result, "FID")


@pytest.fixture
def sets(tmp_path):
    for folder, first in (("real", 0), ("generated", 40)):
        for i in range(6):
            save_image(tmp_path / folder / f"{i}.png", Image.fromarray(draw(first + i, side=64).image))
    return tmp_path


def test_fd_nano_says_that_it_is_not_fid_and_caches_features_by_content(sets, monkeypatch):
    out = here(sets, "fid.py", "real", "generated", "--features", "nano", "--json", "score.json", "--device", "cpu")
    assert out.startswith("FD-nano, not comparable with FID: ") and "N real 6" in out
    result = json.loads((sets / "score.json").read_text())
    assert result["name"] == "FD-nano" and result["fid"] > 0 and result["n_generated"] == 6
    assert len(list((sets / "runs" / "features").glob("nano-*/*.npy"))) == 12
    (sets / "generated" / "0.png").rename(sets / "generated" / "other-name.png")

    def never(*args, **options):
        raise AssertionError("a cached feature was computed again")

    monkeypatch.setattr("stablesdg.evaluate.extract.extract_features", never)
    assert here(sets, "fid.py", "real", "generated", "--features", "nano", "--device", "cpu").splitlines()[1:] != []


def test_cached_features_equal_computed_ones_in_order(sets, nano):
    network = load_feature_network(nano / "features.safetensors")
    files = sorted((sets / "real").iterdir())
    direct = torch.cat(list(extract_features(files, network)))
    first = cached_features(files[3:], lambda f: extract_features(f, network), "k", sets / "cache")
    both = cached_features(files, lambda f: extract_features(f, network, batch_size=2), "k", sets / "cache")
    assert torch.allclose(both, direct, atol=1e-5) and torch.equal(both[3:], first)
    key = network_key("nano", network)
    network.conv_in.weight.data += 1
    assert network_key("nano", network) != key


def test_novelty_is_zero_for_a_copy_and_largest_for_another_kind_of_picture(sets, nano):
    files = sorted((sets / "real").iterdir())
    meter = NoveltyMeter(load_feature_network(nano / "features.safetensors"), files)
    copy = Image.open(files[2])
    mirrored = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strange = Image.effect_noise((64, 64), 90).convert("RGB")
    (zero, near), (small, _), (large, _) = meter.measure([copy, mirrored, strange])
    assert zero < 1e-2 and near == files[2] and small < 0.6 < large


def test_classic_augmentation_depends_on_its_seed():
    texture = to_tensor(Image.fromarray(draw(5, side=64).image))
    assert torch.equal(augment(texture, 1), augment(texture, 1))
    assert not torch.equal(augment(texture, 1), augment(texture, 2))


@pytest.mark.parametrize("height, width", [(60, 40), (60, 200), (300, 90), (40, 400), (12, 300), (64, 128), (50, 51),
                                           (1, 9)])
def test_classic_augmentation_leaves_no_dark_corner(height, width):
    x = torch.full((3, height, width), 0.5)
    assert all(torch.allclose(augment(x, seed), x, atol=1e-5) for seed in range(20))


def test_augmentation_of_square_images_has_the_bytes_that_it_always_had():
    from torchvision.transforms.functional import InterpolationMode, pad, rotate

    for side in (5, 32, 200):
        x = to_tensor(Image.fromarray(draw(5, side=side).image))
        generator = torch.Generator().manual_seed(7)
        degrees = float(torch.rand((), generator=generator)) * 20 - 10
        axes = [axis for axis in (1, 2) if torch.rand((), generator=generator) < 0.5]
        margin = side // 6
        turned = rotate(pad(x, [margin], padding_mode="reflect"), degrees, InterpolationMode.BILINEAR)
        assert torch.equal(augment(x, 7), turned[:, margin:margin + side, margin:margin + side].flip(axes))


def test_the_unit_of_novelty_is_the_distance_between_surfaces_and_not_that_of_overlapping_crops(capsys):
    """Three surfaces 10 apart, of two crops each that are 0.5 apart."""
    x = torch.tensor([[0.0], [0.5], [10.0], [10.5], [20.0], [20.5]])
    surfaces = ["a", "a", "b", "b", "c", "c"]
    assert novelty_unit(x) == pytest.approx(0.5) and novelty_unit(x, surfaces) == pytest.approx(9.5)
    assert capsys.readouterr().out == ""
    assert novelty_unit(x[:2], surfaces[:2]) == pytest.approx(0.5) and "show one surface" in capsys.readouterr().out
    assert novelty_unit(x[:1]) == 1 and "1 has no meaning" in capsys.readouterr().out


def test_the_unit_of_novelty_looks_through_the_surfaces_a_few_times_and_not_once_for_each_image():
    class Counted(list):
        walks = 0

        def __iter__(self):
            self.walks += 1
            return super().__iter__()

    surfaces = Counted(f"s/{i % 20}.png" for i in range(60))
    assert novelty_unit(torch.rand(60, 4, generator=torch.Generator().manual_seed(0)), surfaces) > 0
    assert surfaces.walks < 5


@pytest.mark.parametrize("n, given", [(63, False), (64, True)])
def test_the_distance_is_extrapolated_from_64_generated_images_on(n, given):
    result = score(features(80), features(n, seed=1))
    assert (result.fid_infinity is not None) == given
    assert ("the real ones stay 80" in format_score(result, "FID")) == given


def test_features_kept_on_disk_are_not_those_of_another_preprocessing(nano, monkeypatch):
    network = load_feature_network(nano / "features.safetensors")
    key = network_key("nano", network)
    monkeypatch.setattr("stablesdg.evaluate.extract.PREPROCESSING", 99)
    assert network_key("nano", network) != key
