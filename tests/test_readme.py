"""The README and the docs against what they speak of: the set-up commands, CI, the Japanese twin, commands, links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from pinxit.apps.cli.main import COMMANDS
from pinxit.modelfile import ModelFile

ROOT = Path(__file__).parents[1]
README, TWIN = ROOT / "README.md", ROOT / "README.ja.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
PYTEST = "pytest -n auto --dist loadfile"
SET_UP = ("pip install . && pinxit demo", f'pip install -e ".[dev]" && {PYTEST}')


def fenced(text: str) -> list[str]:
    """The lines inside ```sh blocks, without comments and empty lines; continued lines are joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.split("  #")[0].split()) for line in lines if line.strip() and not line.startswith("#")]


def set_up(text: str) -> tuple[str, ...]:
    marked = re.findall(r"^<!-- set-up.*?-->\n(.*?)^<!-- end of set-up -->$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(marked) == 1
    return tuple(fenced(marked[0]))


def test_two_commands_set_up_everything() -> None:
    assert set_up(README.read_text(encoding="utf-8")) == SET_UP


def test_the_twin_has_the_same_commands_pictures_and_links() -> None:
    readme, twin = README.read_text(encoding="utf-8"), TWIN.read_text(encoding="utf-8")
    assert set_up(twin) == SET_UP
    assert fenced(twin) == fenced(readme)
    other = {"README.ja.md": "README.md"}
    assert sorted(other.get(link, link) for link in links(readme)) == sorted(
        other.get(link, link) for link in links(twin)
    )


@pytest.mark.skipif(os.name == "nt", reason=".ci/run is a bash script")
@pytest.mark.parametrize(
    ("first", "broken", "expected"),
    [
        (
            SET_UP[0],
            "",
            ["pip install .", "pinxit demo", "pip install -e .[dev]", PYTEST, "make lint", "make slow"],
        ),
        (
            "pip install thing",
            "",
            ["pip install thing", "pip install -e .[dev]", PYTEST, "make lint", "make slow"],
        ),
        (SET_UP[0], "pinxit", ["pip install .", "pinxit demo"]),
        (SET_UP[0], "pytest", ["pip install .", "pinxit demo", "pip install -e .[dev]", PYTEST]),
    ],
    ids=["as it stands", "another README", "demo fails", "tests fail"],
)
def test_ci_runs_what_the_readme_says(tmp_path: Path, first: str, broken: str, expected: list[str]) -> None:
    """`.ci/run` in a copy of the repository where every tool only writes down how it was called."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
    (tmp_path / "README.md").write_text(README.read_text(encoding="utf-8").replace(SET_UP[0], first), encoding="utf-8")
    tool = f'#!/bin/sh\necho "${{0##*/}}" "$@" >> {tmp_path}/log\n[ "${{0##*/}}" != "{broken}" ]\n'
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nmkdir -p "$3/bin"\nfor t in pip pinxit pytest make; do cp {tmp_path}/tool "$3/bin/$t"; done\n'
    )
    (tmp_path / "tool").write_text(tool)
    for script in (python, tmp_path / "tool"):
        script.chmod(0o755)
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")], env={**os.environ, "PYTHON": str(python)}, check=False
    )
    assert (tmp_path / "log").read_text().splitlines() == expected
    assert (done.returncode == 0) == (not broken)


def test_ci_run_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def commands() -> list[tuple[str, str]]:
    """(page, command) for every `pinxit ...` in a fenced block or a code span."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        spans = re.findall(r"(?<!`)`((?:python -m )?pinxit [^`\n]+)`", text)
        for line in (*fenced(text), *spans):
            found += [(page.name, c) for c in re.findall(r"\bpinxit +([^&|;]+)", line)]
    return list(dict.fromkeys(found))


@cache
def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pinxit", *words, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


OTHERWISE = {
    "paint": ("singan", "pix2pixhd", "poegan"),
    "sample": ("stylegan2", "stackgan"),
    "interpolate": ("stackgan",),
}
"""Commands that have other options where the model is of these methods."""


@cache
def help_otherwise(command: str) -> str:
    texts = []
    for method in OTHERWISE.get(command, ()):
        with tempfile.TemporaryDirectory() as folder:
            ModelFile(method, {}, {}).save(Path(folder))
            texts.append(help_of(command, folder))
    return "".join(texts)


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_in_the_docs_exists(page: str, command: str) -> None:
    words = command.split()
    if words[0].startswith("-"):
        assert words[0] in help_of(), f"{page} speaks of pinxit {words[0]}"
        return
    assert words[0] in COMMANDS, f"{page} speaks of `pinxit {command}`, which is no command"
    # `train spade`, `import spade`, `data check` have options of their own, and those of `train` hang on its preset.
    inner = [word for word in words[1:2] if words[0] in ("train", "import", "data", "rank") and word.islower()]
    preset = re.findall(r"(--preset) ([a-z]\S*)", command)[:1] if words[0] == "train" else []
    text = help_of(words[0], *inner, *(preset[0] if preset else ())) + help_otherwise(words[0])
    for option in OPTION.findall(command):
        assert known(option, text), f"{page}: {option} of `pinxit {command}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_in_the_docs_exists(page: Path) -> None:
    """Options named alone, in a code span. In the tables of coming-from.md the left column holds other people's."""
    text = page.read_text(encoding="utf-8")
    if page.name == "coming-from.md":
        text = "\n".join(line.split(" | ", 1)[1] for line in text.splitlines() if line.startswith("| "))
    spans = re.findall(r"(?<!`)`(--[^`\n]+)`", text)
    # Presets that have an option on, and such as have it off.
    trained = {
        "spade": ("cpu", "coco"),
        "singan": ("fast",),
        "pix2pix": ("cpu",),
        "pix2pixhd": ("cpu", "label2city_1024"),
        "cyclegan": ("cpu",),
        "deeplabv3": ("cpu",),
        "photosketch": ("cpu",),
        "sketching": ("cpu",),
        "stackgan": ("cpu",),
        "ganintcls": ("cpu",),
        "gawwn": ("cpu",),
        "charcnnrnn": ("cpu",),
        "poegan": ("cpu",),
    }
    shown = [f"train {method} --preset {preset}" for method, presets in trained.items() for preset in presets]
    shown += [
        "paint",
        "translate",
        "segment",
        "demo",
        "animate",
        "sketch",
        "studio",
        "export",
        "data check",
        "data conditions",
        "evaluate",
        "rank new",
        "rank serve",
        "rank report",
        *(f"import {method}" for method in trained),
    ]
    everything = "".join([*(help_of(*words.split()) for words in shown), *map(help_otherwise, OTHERWISE)])
    everything += "--help --goldens"
    for option in (option for span in spans for option in OPTION.findall(span)):
        assert known(option, everything), f"{page}: {option} is no option"


OPTION = re.compile(r"(?<!\S)--[a-z][a-z0-9-]*")


def known(option: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){option}(?![\w-])", text) is not None


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the embedded model in place of the run, and a map of one of its scenes."""
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    assert blocks[0] in TWIN.read_text(encoding="utf-8")
    model = Path(str(files("pinxit.embedded"))) / "camvid_spade"
    (tmp_path / "garden" / "val_label").mkdir(parents=True)
    Image.new("L", (64, 32), 3).save(tmp_path / "garden" / "val_label" / "0001.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with pytest.warns(UserWarning, match="trained at"):
        exec(blocks[0].replace('"runs/garden"', repr(str(model))), names)
    with Image.open(tmp_path / "0001.png") as picture:
        assert picture.size == (64, 32)


def links(text: str) -> list[str]:
    """Where Markdown links and pictures point to inside the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in links(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 40
