"""What a newcomer sees first: help, and what becomes of a command that does not exist."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pinxit.apps.cli.main import COMMANDS

from .conftest import Pinxit, in_a_process


def imported_by(*arguments: str) -> set[str]:
    """The modules of a fresh interpreter after `pinxit ARGUMENTS`."""
    script = (
        "import sys\nfrom pinxit.apps.cli.main import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        "print('\\nMODULES', *sys.modules)"
    )
    done = in_a_process("-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_help_imports_nothing_that_takes_time() -> None:
    assert imported_by("--help").isdisjoint({"torch", "numpy", "PIL", "safetensors", "rich", "tyro"})


@pytest.mark.parametrize(
    "command", ["demo", "paint", "train spade", "train spade --preset coco", "import spade", "data check", "info"]
)
def test_help_of_a_command_waits_for_no_torch(command: str) -> None:
    assert imported_by(*command.split(), "--help").isdisjoint({"torch", "numpy", "safetensors"})


def test_help_names_every_command(pinxit: Pinxit) -> None:
    ran = pinxit("--help")
    assert (ran.status, ran.err) == (0, "")
    assert all(re.search(rf"^  {name} ", ran.out, flags=re.MULTILINE) for name in COMMANDS)
    assert pinxit().out == pinxit("-h").out == ran.out


OPTIONS = {
    "demo": "--out PATH, --styles INT, --seed INT",
    "paint": "MODEL, MAP ..., --out PATH, --style STYLE ..., --variations INT, --frames INT, --instances FILE ..., "
    "--save-style PATH, --device {auto, --precision {auto",
    "translate": "MODEL, INPUT ..., --out PATH, --direction {AtoB, --tile INT, --overlap INT, --statistics {sampled, "
    "--dropout, --norm {picture, --seed INT, --device {auto, --precision {auto, sees farther, some hundred",
    "segment": "MODEL, PHOTO ..., --out PATH, --colors, --overlay, --device {auto, --precision {auto",
    "train deeplabv3": "tiny, cpu, coco, ade20k, cityscapes, --data PATH, --backbone-weights PATH, --depth, "
    "--output-stride, --rates, --scale, --balance",
    "import deeplabv3": "FOLDER|FILE ..., --out PATH, --label-set STR",
    "evaluate": "PICTURES|MODEL, --real PATH, --data PATH, --metrics METRIC ..., --maps PATH, --label-set STR, "
    "--split STR, --pictures INT, --direction {AtoB, --outdoor, --size WxH, --table {spade-table1, --models MODEL ..., "
    "--captions PATH, --matcher PATH, --text-encoder STR, --seed INT, --out PATH, --device {auto, --inception STR, "
    "--protocol {pytorch-fid, --lpips STR, "
    "--lpips-backbone PATH, --lpips-network {alex, --segmenter PATH",
    "rank": "rank new|serve|report, new, serve, report",
    "rank new": "--models, --out PATH, --inputs PATH, --design {pairs, --label-set STR, --items N, "
    "--questions-per-rater N, --checks INT, --repeats INT, --seconds S, --question STR, --instructions STR, --seed INT",
    "rank serve": "STUDY, --host STR, --port INT, --no-open, --token STR",
    "rank report": "STUDY, --out PATH, --may-fail INT, --bootstrap INT, --seed INT",
    "sample": "MODEL, --out PATH, --n INT, --start-scale INT, --size H W, --seed INT, StackGAN",
    "interpolate": "MODEL, StackGAN, --out PATH, --seeds, --frames INT, --fps FLOAT, --no-loop, --truncation FLOAT",
    "project": "MODEL, PICTURE, --out PATH, --steps INT, --plus, --vgg PATH, --seed INT",
    "sketch": "MODEL, --sketches, --photosketch PATH, --images PATH, --kind {hand, --no-pad, --out PATH, --resume, "
    "--train {mapping, --steps INT, --preset paper",
    "super-resolve": "MODEL, --out PATH, --factor FLOAT, --seed INT",
    "animate": "MODEL, --out PATH, --frames INT, --fps FLOAT, --start-scale INT, --loop, --size H W, --seed INT",
    "harmonize": "MODEL, PICTURE, --mask PATH, --out PATH, --start-scale INT, --seed INT",
    "edit": "MODEL, PICTURE, --mask PATH, --out PATH, --start-scale INT, --seed INT",
    "reconstruct": "MODEL, --out PATH",
    "train": "METHOD, spade",
    "train spade": "tiny, cpu, coco, ade20k, cityscapes, --out PATH, --resume, --data PATH, --maps PATH, "
    "--evaluate-every INT, --keep-best {swd, --evaluate-on PATH, --evaluate-split STR, --evaluate-pictures INT, "
    "--photos PATH, --label-set STR, --vgg STR, --no-perceptual, --size INT INT, --steps INT, --batch INT, "
    "--precision {auto, --no-vae",
    "train spade --preset coco": "--vae, --no-instances, (default: 369647)",
    "import": "METHOD, spade, pix2pix, latest_net_G_A.pth and latest_net_G_B.pth, latest_net_E.pth, Gs.pth, "
    "netG_epoch_N.pth, protos.enc_doc",
    "import cyclegan": "latest_net_G_A.pth, --preset STR, --direction {AtoB, --epoch STR",
    "import pix2pix": "latest_net_G.pth, --preset STR, --no-dropout, --direction {AtoB, --epoch STR",
    "import pix2pixhd": "latest_net_E.pth, --label-set STR, --pictures, --features",
    "import spade": "FOLDER|FILE ..., --out PATH, --preset STR, --label-set STR, --epoch STR",
    "data": "data check FOLDER",
    "data check": "[FOLDER], --maps PATH, --photos PATH, --instance-maps PATH, --split STR, --label-set STR, "
    "--a PATH, --b PATH, --unpaired",
    "export": "MODEL, --onnx, --out PATH, --opset INT, --fixed-size H W, --direction {AtoB",
    "info": "MODEL",
    "studio": "--models, --demo, --host, --port, --home, --no-open, --token, --device, --threads",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_of_each_command_names_its_options(pinxit: Pinxit, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    ran = pinxit(*command.split(), "--help")
    assert (ran.status, ran.err) == (0, "")
    missing = [option for option in OPTIONS[command].split(", ") if option not in ran.out]
    assert not missing, ran.out
    assert "{None}" not in ran.out


def test_every_command_is_in_the_table_of_help() -> None:
    assert {command.split()[0] for command in OPTIONS} == set(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "nearest"), [("tarin", "train"), ("pant", "paint"), ("imprt", "import"), ("dmeo", "demo")]
)
def test_an_unknown_command_suggests_the_nearest(pinxit: Pinxit, typed: str, nearest: str) -> None:
    ran = pinxit(typed, "--help")
    everything = ", ".join(sorted(COMMANDS))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"pinxit: command is '{typed}', expected one of {everything}; did you mean '{nearest}'?\n"


def test_the_version_is_told(pinxit: Pinxit) -> None:
    ran = pinxit("--version")
    assert ran.status == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*|not installed", ran.out.strip())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train spade --preset tiny --out run --stepz 3", "--steps"),
        ("train spade --preset tiny --out run --steps many", "many"),
        ("train spade --preset tiny --out run --norm none", "sync_batch"),
        ("train spade --preset tiny", "--out"),
        ("paint", "MODEL"),
        ("info", "MODEL"),
        ("info model other", "other"),
        ("import spade release", "--out"),
        ("demo --styles two", "two"),
        ("data check --splitt val", "--split"),
    ],
)
def test_options_that_cannot_be_read(pinxit: Pinxit, command: str, expected: str) -> None:
    """The parser tells these in a box that names the option."""
    ran = pinxit(*command.split())
    assert (ran.status, ran.out) == (2, "")
    assert expected in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that is closed early")
def test_a_reader_that_has_seen_enough_is_no_defect() -> None:
    """As in `pinxit train spade --help | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pinxit", "train", "spade", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() in (0, 1)
