"""Options and helpers that several folders of tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

# One thread, here and in processes that tests start: networks of some thousand weights gain nothing from more, and on
# a busy machine torch's threads wait for one another far longer than they compute.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared"
ERROR = "error against the authors' number"
"""Properties of tests: they are in a test's report, which comes here from whichever process ran it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens",
        type=Path,
        default=SHARED / "goldens",
        help="folder of SYSTEM/CONFIG/spec.json with numbers of the authors' code (tests/parity)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden_with(file): run for each golden folder that holds the file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a `golden` argument runs once for each golden folder of its module's SYSTEM that holds the file
    its `golden_with` marker names."""
    if "golden" not in metafunc.fixturenames:
        return
    root = Path(str(metafunc.config.getoption("--goldens")))
    system: str = vars(metafunc.module)["SYSTEM"]
    marker = metafunc.definition.get_closest_marker("golden_with")
    assert marker is not None
    folders = sorted(f.parent for f in root.glob(f"{system}/*/{marker.args[0]}") if (f.parent / "spec.json").is_file())
    params = [pytest.param(folder, id=f"{system}/{folder.name}") for folder in folders]
    if not folders:
        reason = f"no {marker.args[0]} of {system} under {root}: give --goldens DIR"
        params = [pytest.param(None, id=f"{system}/none", marks=pytest.mark.skip(reason=reason))]
    metafunc.parametrize("golden", params)


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> Callable[[str, float, float], None]:
    """`compare(what, error, tolerance)`: note the error for the summary, and fail where it is too large."""

    def note(what: str, error: float, tolerance: float) -> None:
        request.node.user_properties.append((ERROR, (request.node.callspec.id, what, error, tolerance)))
        assert error <= tolerance, f"{what}: error {error:.3g}, tolerance {tolerance:.3g}"

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Of the call alone: the report of the test's end has the same again.
    reports = (r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, []) if r.when == "call")
    rows = [value for report in reports for name, value in report.user_properties if name == ERROR]
    if rows:
        terminalreporter.section("largest errors against the authors' numbers")
        for test, what, error, tolerance in rows:
            terminalreporter.write_line(f"{test:46} {what:34} {error:9.2e}  (tolerance {tolerance:.0e})")
