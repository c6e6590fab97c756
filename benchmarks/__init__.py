"""What is fast, measured against what is plain, in one run on one machine: `python -m benchmarks --help`.

The scripts beside it that are no part of that (`singan.py`, `tiling.py`, `studio_load.py` …) say how they are run.
"""
