"""The house: which room may know which, how long the paper is, and that README's counts are true."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PAPER = ("diffusion", "text", "lora", "train", "generation")
SCRIPTS = ("train_ti", "train_lora", "sample", "fid", "classify", "tune", "expand")
# A room may import the rooms after it. Only models/stable_diffusion.py looks up: it holds the paper's text encoder and
# LoRA. What judges images must not know how some of them are made.
ORDER = ("app", "report", "recognise", "rivals", "prior", "compose", "evaluate", "paper", "models", "data", "weights",
         "storage")
EXCEPTIONS = {("models", "paper")}
STRANGERS = {("recognise", "compose")}
MOST_LATE_IMPORTS = 29
PACKAGE = ROOT / "stablesdg"


def modules():
    return [file for file in sorted(PACKAGE.rglob("*.py")) if "__pycache__" not in file.parts]


def room_of(parts):
    return "paper" if not parts or parts[0] in PAPER else parts[0]


def imported_rooms(file):
    """(line, room) of every import of the package that is not for type checkers only."""
    inside = file.relative_to(PACKAGE).with_suffix("").parts
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {id(node) for branch in ast.walk(tree) if isinstance(branch, ast.If)
                   and ast.unparse(branch.test) == "TYPE_CHECKING" for node in ast.walk(branch)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in typing_only:
            continue
        if node.level:
            target = (*inside[:-node.level], *(node.module or "").split(".")) if node.module else inside[:-node.level]
        elif (node.module or "").split(".")[0] == "stablesdg":
            target = tuple(node.module.split(".")[1:])
        else:
            continue
        yield node.lineno, room_of(target or (node.names[0].name,))


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file):
    is_command = "run_main(main)" in file.read_text(encoding="utf-8")
    room = "app" if is_command else room_of(file.relative_to(PACKAGE).parts[:-1])
    if file == PACKAGE / "__init__.py":
        return
    for line, other in imported_rooms(file):
        allowed = ORDER.index(other) >= ORDER.index(room) or (room, other) in EXCEPTIONS
        assert allowed, f"{file.relative_to(ROOT)}:{line} looks up from {room} to {other}"
        assert (room, other) not in STRANGERS, f"{file.relative_to(ROOT)}:{line}: {room} must not know {other}"


def test_the_paper_is_five_files_of_at_most_600_lines_together():
    assert {file.stem for file in PACKAGE.glob("*.py")} == {"__init__", *PAPER}
    assert sum(len((PACKAGE / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in PAPER) <= 600


@pytest.mark.parametrize("room", ORDER)
def test_each_room_says_what_all_its_files_are_for(room):
    folder = PACKAGE if room == "paper" else PACKAGE / room
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    files = {file.stem for file in folder.glob("*.py")} - {"__init__", "__main__"}
    assert files <= set(re.findall(r"\w+", said))


def test_no_script_imports_a_script():
    for script in SCRIPTS:
        names = {node.module for node in ast.walk(ast.parse((ROOT / f"{script}.py").read_text(encoding="utf-8")))
                 if isinstance(node, ast.ImportFrom)}
        assert not names & set(SCRIPTS)


def test_fewer_than_30_imports_stand_inside_functions():
    """main() of a script imports late, so that help is quick. Elsewhere an import belongs to the top of the file."""
    late = set()
    for file in [*modules(), *ROOT.glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                late |= {f"{file.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}" for node in ast.walk(function)
                         if isinstance(node, ast.Import | ast.ImportFrom)}
    assert len(late) <= MOST_LATE_IMPORTS, "\n".join(sorted(late))


def test_every_public_function_has_types():
    bare = []
    for file in [*modules(), *(ROOT / f"{name}.py" for name in SCRIPTS)]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                arguments = [a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                             if a.arg not in ("self", "cls")]
                if any(a.annotation is None for a in arguments) or node.returns is None:
                    bare.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not bare, "\n".join(bare)


def test_the_readme_counts_lines_as_they_are():
    """Rows `| path | lines | ..`; a folder's count is that of its Python files."""
    rows = re.findall(r"^\| `([^`]+)` \| ([\d,]+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M)
    assert len(rows) > 5
    for name, said in rows:
        files = sorted((ROOT / name).rglob("*.py")) if name.endswith("/") else [ROOT / name]
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        assert lines == int(said.replace(",", "")), name


def test_links_in_the_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "weights").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http", "mailto")):
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


@pytest.mark.parametrize("tool", [["ruff", "check", "."], ["pyright"]], ids=["ruff", "pyright"])
def test_style_and_types_are_clean(tool):
    result = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_python_finds_the_public_names_without_knowing_the_rooms():
    import stablesdg

    assert Path(stablesdg.__file__).parent == PACKAGE
    from stablesdg import generate, load_stable_diffusion

    assert callable(generate) and callable(load_stable_diffusion)
    with pytest.raises(ImportError):
        from stablesdg import nothing_of_that_name  # noqa: F401
