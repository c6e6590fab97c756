"""`pinxit paint MODEL …`: what is painted, and with which options, hangs on the method of the model."""

from __future__ import annotations

import importlib

from pinxit.apps.cli.pictures import method_given

FORMS = {
    "spade": "pinxit.apps.cli.paint_spade",
    "pix2pixhd": "pinxit.apps.cli.paint_pix2pixhd",
    "singan": "pinxit.apps.cli.paint_singan",
    "poegan": "pinxit.apps.cli.paint_poegan",
}


def main(arguments: list[str]) -> None:
    """MODEL is the first argument that is one. Where there is none, SPADE's form tells so, or its own options."""
    method = method_given(arguments) or "spade"
    if any(argument in ("-h", "--help") for argument in arguments):
        arguments = ["--help"]  # tyro's help leaves out a MODEL that is given
    importlib.import_module(FORMS.get(method, FORMS["spade"])).main(arguments)
