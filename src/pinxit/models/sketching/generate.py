"""The user's verbs: a customised model is one of StyleGAN2, and has its."""

from __future__ import annotations

from pinxit.models.stylegan2.generate import Model, load

__all__ = ["Model", "load"]
