"""What may be imported when: torchvision never, torch not before it is needed. Each is asked in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pinxit

CONFIGS = sorted(
    f"pinxit.models.{file.parent.name}.config" for file in Path(pinxit.__path__[0]).glob("models/*/config.py")
)

IMPORT_ALL = """
import importlib.abc, pkgutil, sys

class NoTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torchvision":
            raise ImportError("torchvision is blocked in this test")

sys.meta_path.insert(0, NoTorchvision())
try:
    __import__("torchvision")
except ImportError as error:
    assert "blocked" in str(error)
else:
    raise SystemExit("the block does not work")

import pinxit

def fail(name):
    raise

for module in pkgutil.walk_packages(pinxit.__path__, "pinxit.", onerror=fail):
    __import__(module.name)
    print(module.name)
"""


def python(code: str) -> str:
    """Run `code` in a fresh interpreter and return what it printed; its traceback is the failure's message."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_where_torchvision_does_not() -> None:
    imported = set(python(IMPORT_ALL).split())
    root = Path(pinxit.__path__[0])
    files = [file.relative_to(root.parent).with_suffix("") for file in root.rglob("*.py")]
    modules = {".".join(file.parts).removesuffix(".__init__") for file in files}
    assert imported | {"pinxit"} == modules  # a folder without __init__.py would be walked past


@pytest.mark.parametrize("module", ["pinxit", "pinxit.models", "pinxit.apps.cli.main", *CONFIGS])
def test_imports_without_torch(module: str) -> None:
    heavy = python(f"import sys, {module}; print(*sorted({{'torch', 'numpy', 'PIL'}} & set(sys.modules)))").split()
    assert "torch" not in heavy, f"import {module} brings {heavy}"


def test_help_answers_without_torch() -> None:
    code = """
import sys
from pinxit.apps.cli.main import main
sys.argv = ["pinxit", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
assert "torch" not in sys.modules, "pinxit --help imports torch"
"""
    assert "train" in python(code)
