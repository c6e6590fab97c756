"""`python tools/caption_scenes.py DATA OUT [LABEL_SET]`: captions of street scenes, composed from their label maps.

DATA is a data set of photos and label maps, such as CamVid. OUT gets SPLIT_captions.jsonl for each of its splits, which
refer to the photos where they are; the sentences are `pinxit.data.scene_captions.caption_of`'s.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pinxit.data.folders import find, label_set_for, splits
from pinxit.data.images import read_map, read_photo
from pinxit.data.scene_captions import caption_of


def main(data: Path, out: Path, label_set: str | None) -> None:
    labels = label_set_for(data, label_set)
    names = [label.name for label in labels.labels]
    out.mkdir(parents=True)
    for split in splits(data):
        lines = []
        for item in find(data, split):
            assert item.photo is not None
            captions = caption_of(read_map(item.label, labels), names, read_photo(item.photo))
            image = Path(os.path.relpath(item.photo.resolve(), out.resolve())).as_posix()
            lines.append(json.dumps({"image": image, "captions": captions}))
        (out / f"{split}_captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{len(lines)} photos: {out / f'{split}_captions.jsonl'}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or not Path(sys.argv[1]).is_dir() or Path(sys.argv[2]).exists():
        sys.exit("usage: python tools/caption_scenes.py DATA OUT [LABEL_SET], a data set and a new folder")
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) == 4 else None)
