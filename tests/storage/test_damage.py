"""Damaged files end in one sentence. Most of these were found by benchmarks/fuzz.py."""
import json
import struct

import pytest
import torch
from safetensors.torch import save

from stablesdg.app.expanded import export_generated
from stablesdg.app.runs import require_run
from stablesdg.data.split import load_split
from stablesdg.evaluate.inception import load_inception
from stablesdg.evaluate.tuning import COLUMNS, ResultTable
from stablesdg.recognise import classifiers
from stablesdg.recognise.results import save_filtered
from stablesdg.recognise.saved import load_classifier
from stablesdg.storage.checkpoint import Checkpoint
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_csv, read_json, read_optional_json
from stablesdg.storage.tensors import load_state_dict, load_tensors, read_metadata
from stablesdg.weights.adapters import LayerName, read_lora
from stablesdg.weights.read import read_recipe


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"\0"], ids=lambda text: str(text[:4]))
def test_what_is_no_json_is_said(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(UserError, match="a.json is not valid JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_a_record_is_names_and_values(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match="run.json holds no record"):
        read_optional_json(tmp_path / "run.json")


@pytest.mark.parametrize("record", [{"data": 3, "stages": {}}, {"data": "d"}, {"data": "d", "stages": []},
                                    {"data": "d", "stages": {"ti": {}}}, {"data": "d", "stages": {"ti": 1}}])
def test_a_damaged_run_json_is_said(tmp_path, record):
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="run.json is damaged: restore it"):
        require_run(tmp_path)


@pytest.mark.parametrize("text, told", [
    (b"file,weight\na,1,2\n", "a row with more cells"), (b"file,weight\n\xff,1\n", "is not a CSV file"),
    (b'file,weight\n"' + b"x" * 200_000, "is not a CSV file"), (b"name\nx\n", "has no column file")],
    ids=["long", "bytes", "quote", "column"])
def test_what_is_no_table_is_said(tmp_path, text, told):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(UserError, match=told):
        read_csv(tmp_path / "a.csv", ("file",))


def test_a_short_row_has_empty_cells(tmp_path):
    (tmp_path / "a.csv").write_text("file,weight\nx\n")
    assert read_csv(tmp_path / "a.csv") == [{"file": "x", "weight": ""}]


def test_damaged_tables_of_a_run_are_said(tmp_path):
    (tmp_path / "filter.csv").write_text("name\nx\n")
    with pytest.raises(UserError, match="filter.csv has no column seed"):
        save_filtered(tmp_path, "n", 0, [])
    (tmp_path / "tune.json").write_text("{}")
    (tmp_path / "tune.csv").write_text(",".join(COLUMNS) + "\n" + "x," * (len(COLUMNS) - 1) + "x\n")
    with pytest.raises(UserError, match="tune.csv holds something else than numbers"):
        ResultTable(tmp_path, {}, True)


ENTRY = {"sha256": "0", "group": "a/0.png", "part": "train"}


@pytest.mark.parametrize("changed", [
    {"method": "x"}, {"seed": "0"}, {"seed": -1}, {"ratios": [1]}, {"ratios": [1, 2, "x"]}, {"files": []},
    {"files": {"a/0.png": {**ENTRY, "part": "exam"}}}, {"files": {"a/0.png": {**ENTRY, "group": None}}},
    {"files": {"0.png": ENTRY}}, {"files": {"a/0.png": 1}}], ids=str)
def test_a_damaged_split_is_never_taken_for_one(tmp_path, changed):
    whole = {"method": "group", "seed": 0, "ratios": [8, 1, 1], "files": {"a/0.png": ENTRY}}
    (tmp_path / "split.json").write_text(json.dumps(whole))
    assert load_split(tmp_path / "split.json", [])["files"] == {"a/0.png": ENTRY}
    (tmp_path / "split.json").write_text(json.dumps({**whole, **changed}))
    with pytest.raises(UserError, match="split.json is no whole split"):
        load_split(tmp_path / "split.json", [])


@pytest.mark.parametrize("recipe", [{"all": 3}, {"all": []}, {"train_ti": {"lr": "fast"}}, {"all": {"crop": "native"}},
                                    {"sample": {"guidance": -1}}, {"tune": {"guidances": [1, None]}},
                                    {"sample": {"strength": True}}, {"all": {"lr": float("nan")}}], ids=str)
def test_a_recipe_without_usable_numbers_is_refused(tmp_path, nano, recipe):
    assert read_recipe(nano / "recipe.json")["all"]["resolution"] == "native"
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(UserError, match="recipe.json has no usable"):
        read_recipe(tmp_path / "recipe.json")


@pytest.mark.parametrize("data", [b"", b"x" * 20, struct.pack("<Q", 2**63), struct.pack("<Q", 2) + b"[]",
                                  struct.pack("<Q", 8) + b"{\"a\":{}}"])
@pytest.mark.parametrize("read", [load_tensors, read_metadata])
def test_what_is_no_safetensors_file_is_said(tmp_path, data, read):
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="a.safetensors is not a whole safetensors file"):
        read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("metadata", [{}, {"settings": "{}"}, {"settings": "{}", "record": "3"},
                                      {"settings": "[]", "record": "{}"}, {"settings": "{}", "record": "{}"}])
def test_a_damaged_checkpoint_is_said(tmp_path, metadata):
    """The last one has no tensor of that name."""
    (tmp_path / "c.safetensors").write_bytes(save({"parameter.w": torch.ones(2)}, metadata))
    p = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(UserError, match="c.safetensors is no whole checkpoint"):
        Checkpoint(tmp_path / "c.safetensors", {"lr": 1} if metadata.get("settings") == "[]" else {}).restore(
            {"w": p}, torch.optim.Adam([p]))


def test_a_checkpoint_of_other_settings_is_not_called_damaged(tmp_path):
    p = torch.nn.Parameter(torch.ones(2))
    Checkpoint(tmp_path / "c.safetensors", {"lr": 0.1}).save({"w": p}, torch.optim.Adam([p]), {})
    with pytest.raises(UserError, match="was made with other settings") as found:
        Checkpoint(tmp_path / "c.safetensors", {"lr": 0.2}).restore({"w": p}, torch.optim.Adam([p]))
    assert "delete it" not in str(found.value)


@pytest.mark.parametrize("content", [
    b"", b"x", b"\x80\x02h\x01.", b"\x80\x02J\x01", torch.ones(2), {3: torch.ones(2)}, {"features.0.weight": 3},
    {"state_dict": [torch.ones(2)]}], ids=lambda content: str(content)[:24])
@pytest.mark.parametrize("read", [load_state_dict, classifiers.read_state_dict, load_inception])
def test_a_damaged_state_dict_is_said(tmp_path, content, read):
    file = tmp_path / "squeezenet.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(UserError, match=r"squeezenet.pth holds [^\n]*: save model.state_dict\(\)"):
        read(file)


def test_a_state_dict_is_read_from_either_format(tmp_path):
    weights = {"a": torch.rand(2, 3)}
    for name, content in (("a.pth", weights), ("b.pt", {"state_dict": weights, "epoch": 3})):
        torch.save(content, tmp_path / name)
    (tmp_path / "c.safetensors").write_bytes(save(weights))
    for name in ("a.pth", "b.pt", "c.safetensors"):
        read = load_state_dict(tmp_path / name)
        assert read.keys() == {"a"} and torch.equal(read["a"], weights["a"])
    with pytest.raises(UserError, match="There is no file"):
        load_state_dict(tmp_path / "d.pth")



def test_a_damaged_classifier_and_a_damaged_lora_are_said(tmp_path):
    file = tmp_path / "m.safetensors"
    for metadata in ({"classes": "["}, {"classes": "3"}, {"classes": '["a"]', "side": "x"}, {"classes": '["a"]'}):
        file.write_bytes(save({"w": torch.ones(2)}, {"network": "squeezenet", **metadata}))
        with pytest.raises(UserError, match="m.safetensors is a damaged classifier"):
            load_classifier(file)
    factors = {"lora_unet_a.lora_A.weight": torch.ones(1, 4), "lora_unet_a.lora_B.weight": torch.ones(4, 1)}
    file.write_bytes(save(factors, {"lora_adapter_metadata": "["}))
    with pytest.raises(UserError, match="m.safetensors has damaged metadata"):
        read_lora(file, {LayerName("unet", "a"): torch.nn.Linear(4, 4)})


def test_a_manifest_cannot_name_files_outside_of_its_folder(tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "secret.png").touch()
    (tmp_path / "samples" / "manifest.csv").write_text("file,source\n../secret.png,a/0.png\n")
    with pytest.raises(UserError, match="which is no file of its folder"):
        export_generated(tmp_path / "samples", "a", tmp_path / "out", set())
    assert not (tmp_path / "out").exists()
