"""Which results form a family, and what is said of it. Verdicts are computed when they are shown."""
import dataclasses
import json

import pytest
from commands import here
from test_results import made

from stablesdg.recognise.results import from_json, read_results, save_result, to_json
from stablesdg.recognise.significance import holm
from stablesdg.recognise.verdicts import describe, describe_all, find_family, verdicts
from stablesdg.storage.settings import as_json


def answering(arm, right, n=60, **changes):
    """A result of three seeds that gets `right` of n test images right."""
    result = made(arm, test_files=[f"a/{i}.png" for i in range(n)], test_groups=[f"a/{i}.png" for i in range(n)],
                  arguments={"epochs": 2, "patience": None, "seeds": 3}, **changes)
    seeds = [dataclasses.replace(result.seeds[0], seed=k, correct=[1] * right + [0] * (n - right)) for k in range(3)]
    return dataclasses.replace(result, seeds=tuple(seeds))


def test_the_family_of_a_result_is_all_comparable_results_and_no_other(tmp_path):
    expand, none, synthetic = answering("expand", 55), answering("none", 45), answering("synthetic", 50)
    other = answering("substitute", 0)
    nine_epochs = dataclasses.replace(other.setup, arguments={"epochs": 9, "patience": None})
    longer = dataclasses.replace(other, setup=nine_epochs)
    results = [expand, none, synthetic, longer, answering("none", 0, network="vgg")]
    family = find_family(expand, results)
    assert [one.name for one in family.others] == ["none", "synthetic"]
    found = verdicts(family)
    assert [one.adjusted_p for one in found] == pytest.approx(holm([one.comparison.p for one in found]))
    assert found == verdicts(find_family(expand, [none, synthetic]))  # what is not comparable changes no p value
    lines = describe(family, tmp_path)
    assert lines[0] == "expand is not compared with substitute: epochs 2 and 9."
    assert lines[1].endswith("another network, share of the real images or split: vgg-none-0.4.")
    assert f"all comparable results in {tmp_path} (squeezenet, alpha 0.4, group split, 2 epochs): none, synthetic." in (
        lines[2]) and "these 2 comparisons" in lines[2]
    assert lines[3:] == [one.sentence for one in found]


def test_results_of_equal_steps_are_compared_however_often_each_looked_at_the_validation_part():
    none, imitation, expand = answering("none", 45), answering("none", 50, name="imitation"), answering("expand", 55)

    def with_steps(result, epochs, **more):
        arguments = {**result.setup.arguments, "epochs": epochs, "steps": 90, **more}
        return dataclasses.replace(result, setup=dataclasses.replace(result.setup, arguments=arguments))

    none, imitation, expand = with_steps(none, 20), with_steps(imitation, 1, imitate="nano"), with_steps(expand, 20)
    results = [none, imitation, expand]
    assert [one.name for one in find_family(imitation, results).others] == ["none"]
    assert [one.name for one in find_family(expand, results).others] == ["none"]  # what imitates is no control of it


def test_a_later_result_changes_the_verdicts_of_an_earlier_one_when_they_are_shown_again(tmp_path):
    save_result(tmp_path, answering("expand", 55))
    save_result(tmp_path, answering("none", 49))
    before = "\n".join(describe_all(read_results(tmp_path), tmp_path))
    save_result(tmp_path, answering("synthetic", 54))
    after = "\n".join(describe_all(read_results(tmp_path), tmp_path))
    assert "adjusted" not in before and "It is one comparison" in before and "expand is better than none" in before
    assert "adjusted p" in after and "these 2 comparisons" in after


def test_a_comparison_in_two_families_says_which_family_its_adjusted_p_belongs_to(tmp_path):
    results = [answering("expand", 55), answering("substitute", 51), answering("none", 38)]
    lines = [line for line in describe_all(results, tmp_path) if "adjusted p" in line]
    assert [line.split(" (")[0] for line in lines] == [
        "expand is better than substitute", "expand is better than none",
        "substitute is worse than expand", "substitute is better than none"]
    for line in lines:
        assert line.endswith(f" The adjusted p allows for the 2 comparisons of {line.split()[0]}.")
    assert "adjusted" not in "".join(describe_all(results[:1] + results[2:], tmp_path))  # one comparison, one p


def test_a_result_file_holds_no_verdicts_and_those_of_an_older_file_are_not_read(tmp_path):
    result = answering("expand", 55)
    save_result(tmp_path, result)
    file = tmp_path / "squeezenet-expand-0.4.json"
    written = json.loads(file.read_text())
    assert "verdicts" not in written and written["summary"]["n_by_class"] == {"a": 1, "b": 1}
    assert written["summary"]["macro_f1"] == 1
    old = as_json(to_json(result)) | {"verdicts": [{"against": "none", "sentence": "stale"}], "summary": {"mean": 0}}
    for row in old["rows"]:
        del row["balanced_accuracy"], row["macro_f1"]
    assert from_json(old) == result
    file.write_text(json.dumps(old))
    assert "stale" not in "\n".join(describe_all(read_results(tmp_path), tmp_path))


def test_json_files_of_other_kinds_are_no_part_of_a_family(tmp_path):
    save_result(tmp_path, answering("expand", 55))
    (tmp_path / "squeezenet-notes.json").write_text('{"note": "not a result"}')
    (tmp_path / "list.json").write_text("[1]")
    assert [one.name for one in read_results(tmp_path)] == ["expand"]


def test_each_result_appears_in_a_family_and_controls_in_that_of_the_arm_that_they_control(tmp_path):
    results = [answering("none", 45), answering("steps", 46), answering("expand", 47),
               answering("none", 45, network="vgg"), answering("steps", 46, network="vgg")]
    lines = describe_all(results, tmp_path)
    heads = [line for line in lines if "is compared with" in line]
    assert [line.split()[0] for line in heads] == ["expand", "none"]  # vgg has no arm with generated images
    heads = [line for line in describe_all(results[:3], tmp_path, "steps") if "is compared with" in line]
    assert [line.split()[0] for line in heads] == ["steps"]


@pytest.mark.parametrize("changes, why", [
    ({"dtype": "bfloat16"}, "arithmetic in float32 and bfloat16"),
    ({"held_out_sha256": "x"}, "other validation or test images"),
    ({"pretrained_sha256": "x"}, "other pretrained weights"),
    ({"training_sha256": "x"}, "other real training images"),
    ({"arguments": {"epochs": 2, "patience": 3}}, "patience not set and 3")])
def test_an_arm_that_drops_out_of_the_comparison_is_named_with_the_reason(changes, why, tmp_path):
    lines = describe(find_family(made("expand", training_sha256="y"), [made("none", **changes)]), tmp_path)
    assert lines[0].startswith("expand is not compared with none: ") and why in lines[0]
    assert f"{tmp_path} holds no other result that expand can be compared with" in lines[1]


def test_a_control_of_another_number_of_images_is_named_with_the_numbers(tmp_path):
    lines = describe(find_family(made("steps", added=5), [made("expand", added=4)]), tmp_path)
    assert "steps is not compared with expand: they add 5 and 4 images" in lines[0]


def test_verdicts_are_shown_without_training_and_without_images(tmp_path):
    out = tmp_path / "runs" / "steel" / "classify"
    for result in (answering("expand", 55), answering("none", 45), answering("steps", 50)):
        save_result(out, result)
    by_data = here(tmp_path, "classify.py", "--verdicts", "--data", "steel")
    by_folder = here(tmp_path, "classify.py", "--verdicts", "--out", "runs/steel/classify")
    assert by_data == by_folder and "expand is better than none" in by_data and "epochs): none, steps." in by_data
    assert "squeezenet-steps-0.4: steps: test accuracy 0.8333" in by_data
    only = here(tmp_path, "classify.py", "--verdicts", "--data", "steel", "--name", "steps")
    assert "steps against expand" in only or "steps is worse than expand" in only
    assert "expand is better" not in only


@pytest.mark.parametrize("words, said", [
    ([], "--verdicts needs --data DATASET, or --out FOLDER"), (["--out", "empty"], "empty holds no results"),
    (["--out", "some", "--name", "full"], "no result called full: it has expand")])
def test_verdicts_without_results_are_an_error_in_a_sentence(tmp_path, words, said):
    save_result(tmp_path / "some", answering("expand", 55))
    assert said in here(tmp_path, "classify.py", "--verdicts", *words, ok=False)
