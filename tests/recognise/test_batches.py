"""Which images a step sees: classes, shares and phases."""
import itertools

import pytest
import torch

from stablesdg.recognise.batches import Drawing, Phase, draw_batches, draw_by_weight, plan_phases


def draw(drawing, y, added, steps, batch_size=8):
    phases = plan_phases(drawing, torch.tensor(y), torch.tensor(added), steps)
    assert sum(phase.steps for phase in phases) == steps
    return list(draw_batches(phases, len(y), batch_size, torch.Generator().manual_seed(0)))


def test_without_options_each_image_is_seen_once_in_an_epoch():
    batches = draw(Drawing(), [0] * 10, [False] * 10, steps=4)
    assert [len(batch) for batch in batches] == [8, 2, 8, 2]
    for epoch in (batches[:2], batches[2:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))


def test_the_first_epoch_is_the_permutation_of_earlier_versions():
    batch, = draw(Drawing(), [0] * 8, [False] * 8, steps=1)
    assert torch.equal(batch, torch.randperm(8, generator=torch.Generator().manual_seed(0)))


def test_a_single_image_left_over_is_skipped():
    assert [len(batch) for batch in draw(Drawing(), [0] * 9, [False] * 9, steps=2)] == [8, 8]
    assert [len(batch) for batch in draw(Drawing(), [0], [False], steps=2)] == [1, 1]


def test_balanced_drawing_shows_each_class_equally_often():
    y = [0] * 40 + [1] * 8 + [2] * 12
    seen = torch.cat(draw(Drawing(balanced=True), y, [False] * 60, steps=800))
    shares = torch.bincount(torch.tensor(y)[seen]) / len(seen)
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.005)
    counts = torch.bincount(seen, minlength=60)
    for k in range(3):  # within a class, each image as often as any other
        own = counts[torch.tensor(y) == k].float()
        assert float(own.std() / own.mean()) < 0.05


def test_the_share_is_that_of_the_generated_images_and_classes_may_be_balanced_within_it():
    y, added = [0] * 10 + [1] * 2 + [0] * 30 + [1] * 18, [False] * 12 + [True] * 48
    for balanced in (False, True):
        seen = torch.cat(draw(Drawing(balanced, share=0.25), y, added, steps=900))
        is_added = torch.tensor(added)[seen]
        assert float(is_added.float().mean()) == pytest.approx(0.25, abs=0.005)
        real = torch.tensor(y)[seen[~is_added]].float()
        assert float(real.mean()) == pytest.approx(0.5 if balanced else 2 / 12, abs=0.01)


def test_a_class_without_generated_images_is_balanced_too_and_shows_its_real_ones():
    y, added = [0] * 40 + [1] * 5 + [1] * 15, [False] * 45 + [True] * 15
    seen = torch.cat(draw(Drawing(balanced=True, share=0.25), y, added, steps=900))
    of_1 = torch.tensor(y)[seen] == 1
    assert float(of_1.float().mean()) == pytest.approx(0.5, abs=0.005)
    assert float(torch.tensor(added)[seen[of_1]].float().mean()) == pytest.approx(0.25, abs=0.01)
    seen = torch.cat(draw(Drawing(balanced=True, share=1.0), y, added, steps=900))
    assert set(seen.tolist()) == {*range(40), *range(45, 60)}  # class 0 has nothing else to show


def test_weights_draw_each_image_as_often_as_they_say_rounded_up_or_down():
    weights = torch.rand(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights[::7] = 0
    for seed in range(20):
        counts = torch.bincount(draw_by_weight(weights, 30, torch.Generator().manual_seed(seed)), minlength=30)
        assert bool(((counts - 30 * weights / weights.sum()).abs() < 1).all()) and not counts[::7].any()


def test_the_last_share_of_the_steps_shows_real_images_alone():
    added = [False] * 6 + [True] * 10
    batches = draw(Drawing(finish_real=0.25), [0] * 16, added, steps=20)
    assert any(int(batch.max()) >= 6 for batch in batches[:15]) and all(int(batch.max()) < 6 for batch in batches[15:])


def test_pretraining_shows_generated_images_first_and_then_real_ones():
    added = [False] * 6 + [True] * 10
    batches = draw(Drawing(pretrain=True), [0] * 16, added, steps=10)
    assert all(int(batch.min()) >= 6 for batch in batches[:5]) and all(int(batch.max()) < 6 for batch in batches[5:])
    assert sorted(torch.cat(batches[:2]).tolist()) == list(range(6, 16))  # an epoch of them


def test_batches_do_not_depend_on_the_number_of_steps_that_are_taken():
    phase = [Phase(5, None)], [Phase(9, None)]
    few, many = (list(draw_batches(p, 20, 8, torch.Generator().manual_seed(3))) for p in phase)
    assert all(torch.equal(a, b) for a, b in itertools.islice(zip(few, many), 5))
