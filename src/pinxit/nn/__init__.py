"""Blocks that know no paper's whole model."""
