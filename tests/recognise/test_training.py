"""How the networks are trained: the epoch that is kept, arithmetic, phases, the moving average, a number of steps."""
import copy

import pytest
import torch
from steel_place import make_place  # noqa: F401 (fixture)

from stablesdg.data.augment import augment_batch
from stablesdg.models.average import follow
from stablesdg.recognise import classifiers, training
from stablesdg.recognise.targets import make_targets


def test_a_log_file_holds_no_progress_bars(place, capsys):
    x, y = torch.zeros(4, 3, 200, 200, dtype=torch.uint8), torch.arange(4) % 2
    model = classifiers.build("squeezenet", 2)
    training.train(model, training.Examples(x, y), x, y, training.Recipe(epochs=1), seed=0, device="cpu")
    classifiers.predict_files(model, sorted((place / "steel" / "pits").iterdir())[:2], "cpu")
    assert capsys.readouterr() == ("", "")


def test_of_epochs_with_equal_accuracy_the_one_with_the_least_loss_is_kept():
    torch.manual_seed(0)
    x = torch.stack([torch.full((3, 200, 200), 40 + 150 * (k % 2)) for k in range(8)]).to(torch.uint8)
    y = torch.arange(8) % 2
    model = classifiers.build("squeezenet", 2)
    trained = training.train(model, training.Examples(x, y * 0), x[:4], y[:4] * 0, training.Recipe(epochs=4), seed=0,
                             device="cpu", lr=1e-3)
    model = classifiers.build("squeezenet", 2)
    model.load_state_dict(trained.state)
    assert [score.accuracy for score in trained.history].count(trained.best.accuracy) > 1
    loss = torch.nn.functional.nll_loss(classifiers.predict(model, x[:4], "cpu").log(), y[:4] * 0)
    assert float(-loss) == pytest.approx(max(score.minus_loss for score in trained.history), abs=1e-6)


def test_training_in_bfloat16_follows_float32(place):
    files = [sorted((place / "steel" / name).iterdir()) for name in ("patches", "pits")]
    x, y = classifiers.load_images(files[0] + files[1]), torch.tensor([0] * 12 + [1] * 12)
    states = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = classifiers.build("squeezenet", 2)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        state = training.train(model, training.Examples(x, y), x, y, training.Recipe(epochs=2), seed=0, device="cpu",
                               dtype=dtype).state
        assert all(v.dtype == torch.float32 for v in state.values())
        states.append(torch.cat([(v - before[k]).flatten() for k, v in state.items()]))
    assert torch.nn.functional.cosine_similarity(*states, dim=0) > 0.8


class Linear(torch.nn.Module):
    """The mean colour of an image, through one layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x.mean(dim=(2, 3)))


def colours(n=40, side=16):
    x = torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    x[::2, 0] //= 2
    return x, torch.arange(n) % 2


def test_a_moving_average_of_weights_is_the_formula():
    model = Linear()
    average, weights = copy.deepcopy(model), []
    for step in range(1, 401):
        with torch.no_grad():
            model.layer.weight.copy_(torch.randn(2, 3, generator=torch.Generator().manual_seed(step)))
        follow(average.state_dict(), model.state_dict(), training.average_decay(step))
        weights.append(model.layer.weight.detach().double())
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for t, weight in enumerate(weights, start=1):
        decay = min(training.AVERAGE_DECAY, (t - 1) / (t + 2))
        expected = decay * expected + (1 - decay) * weight
    assert torch.allclose(average.layer.weight.double(), expected, atol=1e-6)


def test_the_average_is_what_is_validated_and_kept():
    x, y = colours()
    recipe = training.Recipe(epochs=10, steps=100, average=True)
    trained = training.train(Linear(), training.Examples(x, y), x, y, recipe, seed=0, device="cpu", lr=0.05)
    kept = training.validate(trained.model, x, y, "cpu")
    assert kept.minus_loss == pytest.approx(trained.best.minus_loss, abs=1e-6)


@pytest.mark.parametrize("steps, epochs", [(7, 7), (45, 20)])
def test_a_number_of_steps_is_taken_whatever_the_number_of_images(steps, epochs):
    for n in (10, 40):
        x, y = colours(n)
        trained = training.train(Linear(), training.Examples(x, y), x, y, training.Recipe(epochs, steps), seed=0,
                                 device="cpu")
        assert trained.steps == steps and len(trained.history) == epochs


def test_patience_stops_after_so_many_epochs_without_a_better_one(monkeypatch):
    x, y = colours(8)
    falling = iter([0.3, 0.5, 0.4, 0.4, 0.6])
    monkeypatch.setattr(training, "validate", lambda *a: training.ValidationScore(next(falling), 0.0))
    trained = training.train(Linear(), training.Examples(x, y), x, y, training.Recipe(epochs=9, patience=2), seed=0,
                             device="cpu")
    assert [score.accuracy for score in trained.history] == [0.3, 0.5, 0.4, 0.4] and trained.best_epoch == 2


def test_the_paper_s_recipe_gives_the_weights_of_plain_steps():
    """Written out: a random order each epoch, Adam on the cross-entropy, the paper's augmentation."""
    x, y = colours()
    trained = training.train(Linear(), training.Examples(x, y), x, y, training.Recipe(epochs=1), seed=5, device="cpu")
    model, generator = Linear(), torch.Generator().manual_seed(5)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    for indices in torch.randperm(40, generator=generator).split(32):
        batch = augment_batch(classifiers.normalise(x[indices]), generator)
        loss = torch.nn.functional.cross_entropy(model(batch), y[indices])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.equal(trained.state["layer.weight"], model.layer.weight)


@pytest.mark.parametrize("changes", [{"augment": "strong"}, {"mix": "both"}, {"average": True}])
def test_a_recipe_gives_the_same_weights_twice_and_others_than_the_paper_s(changes):
    x, y = colours()
    examples = training.Examples(x, y, targets=make_targets(y, 2))
    states = [training.train(Linear(), examples, x, y, training.Recipe(epochs=2, **one), seed=0,
                             device="cpu").state["layer.weight"] for one in (changes, changes, {})]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
