"""`python tools/outline_pairs.py PHOTOS OUT`: pairs for `pinxit train photosketch --photos --sketches`.

Of photos of single objects on a white ground: each picture in the folder PHOTOS and in its sub-folders goes to
OUT/photos, and its outline (`pinxit.data.sketches.outline_of`) to OUT/sketches, under one name.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pinxit.data.images import SUFFIXES, read_photo
from pinxit.data.sketches import outline_of


def main(photos: Path, out: Path) -> None:
    for folder in ("photos", "sketches"):
        (out / folder).mkdir(parents=True)
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in files:
        name = "-".join(path.relative_to(photos).with_suffix("").parts)
        photo = read_photo(path)
        photo.save(out / "photos" / f"{name}.png")
        outline_of(photo).save(out / "sketches" / f"{name}.png")
    print(f"{len(files)} pairs: {out}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir() or Path(sys.argv[2]).exists():
        sys.exit("usage: python tools/outline_pairs.py PHOTOS OUT, a folder of photos and a new one")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
