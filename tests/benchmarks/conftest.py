"""So that `benchmarks`, which is not installed, is found."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
