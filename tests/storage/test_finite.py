"""A loss that is no number stops a training in one sentence, and the last good checkpoint stays as it was."""
import math

import pytest
import torch
from commands import TRAINING, here
from torch import nn

from stablesdg import train
from stablesdg.prior.loop import Loop
from stablesdg.prior.loop import fit as fit_prior
from stablesdg.recognise import training
from stablesdg.rivals.common import Learning, Phase, Rival, Training
from stablesdg.rivals.common import fit as fit_rival
from stablesdg.storage.checkpoint import Checkpoint, require_finite
from stablesdg.storage.errors import UserError


def test_the_step_of_the_first_bad_loss_is_named_with_rate_and_number_format():
    require_finite([1.0, 2.0], [torch.ones(2)], 7, 1e-3, torch.float32)
    with pytest.raises(UserError, match=r"because the loss of step 6 is infinite or no number \(lr 0.001, float16\)"):
        require_finite([1.0, math.nan, math.inf], [torch.ones(2)], 7, 1e-3, torch.float16)
    with pytest.raises(UserError, match="a weight after step 7 is"):
        require_finite([1.0], [torch.ones(2), torch.tensor([1.0, -math.inf])], 7, 1e-3, torch.float32)


@pytest.mark.parametrize("script, stage, extra", [
    ("train_ti.py", "ti", []), ("train_lora.py", "lora", []), ("train_lora.py", "full", ["--full"])])
def test_an_adaptation_stops_and_goes_on_from_the_last_good_checkpoint(place, tmp_path, monkeypatch, script, stage,
                                                                       extra):
    loss, calls = train.denoising_loss, []

    def break_down(*arguments):
        value = loss(*arguments)
        calls.append(arguments[5:])
        return value * math.nan if arguments[5:] == () and calls.count(()) == 4 else value

    base = [script, "--data", "steel/patches", "--weights", "toy", *TRAINING, *extra, "--lr", "0.002", "--no-preview"]
    monkeypatch.setattr(train, "LOG_STEPS", 2)
    here(place, *base, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(train, "denoising_loss", break_down)
        error = here(place, *base, "--out", tmp_path / "parts", ok=False)
    assert "because the loss of step 4 is infinite or no number (lr 0.002, float32)" in error
    assert error.strip().count("\n") == 0
    assert "resuming after 2 iterations" in here(place, *base, "--out", tmp_path / "parts", "--resume")
    name = {"ti": "embedding"}.get(stage, stage) + ".safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_pretraining_stops_and_keeps_its_checkpoint(tmp_path):
    model = nn.Linear(2, 1)

    def loss_at(generator, progress):
        value = model(torch.ones(1, 2)).square().mean()
        return value * math.nan if progress > 0.5 else value

    with pytest.raises(UserError, match=r"the loss of step 4 .*\(lr .*, float32\)"):
        fit_prior("text", model, loss_at, Loop(4, 1, 1e-3, 0.9, every=2), tmp_path, dict, {})
    assert Checkpoint(tmp_path / "checkpoint-text.safetensors", {"seed": 0}).path.is_file()
    again = nn.Linear(2, 1)
    assert fit_prior("text", again, lambda generator, progress: again(torch.ones(1, 2)).square().mean(),
                     Loop(4, 1, 1e-3, 0.9, every=2), tmp_path, dict, {})[-1]["step"] == 4
    assert all(bool(p.isfinite().all()) for p in again.parameters())


def test_a_rival_that_is_asked_to_stop_does_not_save_what_broke_down(tmp_path):
    """Before, a checkpoint that came between two rows of the log was written without a look at the losses."""
    net = nn.ModuleDict({"a": nn.Linear(2, 1)})
    stops = iter([True] + [False] * 9 + [True])

    def rival(factor):
        return Rival(net, {"a": Learning(0.25)}, [Phase("A", "a", lambda indices, generator: factor * net["a"](
            torch.ones(1, 2)).square().mean())], lambda seeds: torch.zeros(len(seeds)))

    checkpoint = Checkpoint(tmp_path / "c.safetensors", {})
    with pytest.raises(KeyboardInterrupt):
        fit_rival(rival(1.0), 3, Training(40, 1), checkpoint, lambda: next(stops))
    good = checkpoint.path.read_bytes()
    with pytest.raises(UserError, match=r"the loss of step 2 .*\(lr 0.25, float32\)"):
        fit_rival(rival(math.nan), 3, Training(40, 1, resume=True), checkpoint, lambda: True)
    assert checkpoint.path.read_bytes() == good


def test_a_classifier_stops_after_the_epoch_in_which_it_broke_down(monkeypatch):
    step, calls = training.train_step, []

    def break_down(*arguments):
        calls.append(1)
        return step(*arguments) * (math.nan if len(calls) == 3 else 1)

    monkeypatch.setattr(training, "train_step", break_down)
    x, y = torch.zeros(40, 3, 64, 64, dtype=torch.uint8), torch.arange(40) % 2
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(UserError, match=r"the loss of step 3 .*\(lr 0.0001, float32\)"):
        training.train(model, training.Examples(x, y), x[:4], y[:4], training.Recipe(epochs=3), seed=0, device="cpu")
    assert len(calls) == 4
