"""A sentence to a picture, by models that take sentences alone: StackGAN, GAN-INT-CLS, GAWWN. No web in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinxit.errors import expected

if TYPE_CHECKING:
    from PIL import Image

MOST_CHARACTERS = 1000
"""Of a sentence. Encoders read the first few dozen words; what comes after these changes nothing."""


def illustrate(model: Any, recipe: dict[str, Any]) -> Image.Image:
    """One picture of a sentence.

    `model`: of StackGAN, GAN-INT-CLS, or GAWWN trained with boxes, as `pinxit.load` gives it. `recipe`: its `model`
    (an id), `text` and `seed`; `stage`, of StackGAN, None being the last; `between`, {"text", "at"}: another sentence,
    and how far towards it, 0..1, the noise staying the same; `box` [x, y, width, height], of GAWWN, in parts of the
    side, None being the middle.

    Raises `PinxitError` for what the model does not have, an empty sentence, and an encoder that is not on this
    machine.
    """
    from pinxit.data.images import to_image  # these bring torch, which the model has brought anyway
    from pinxit.text.training import PRECOMPUTED

    id, seed, stage, box, other = (recipe[name] for name in ("model", "seed", "stage", "box", "between"))
    method, last = model.file.method, getattr(model, "last", 0)
    if stage is not None and stage > last:
        want = "1, the only one of this model" if last else f"none: model {id} has no stages"
        raise expected("stage", stage, want, "leave it out")
    if box is not None and method != "gawwn":
        raise expected("box", "given", f"none: model {id} takes no place", "leave it out")
    if model.file.config.get("text_encoder") == PRECOMPUTED:
        got, want = "trained on precomputed embeddings", "one that brings or names its text encoder"
        raise expected(f"model {id}", got, want, "use pinxit sample with --text-encoder")
    if other is None:
        given = {name: value for name, value in (("stage", stage), ("box", box)) if value is not None}
        return model.sample(recipe["text"], 1, seed, **given)[0]
    a, b = model.embed([recipe["text"], other["text"]])
    text = a.lerp(b, other["at"])[None]
    match method:
        case "stackgan":
            return to_image(model.made(text, [seed])[(stage or last) - 1][0])
        case "gawwn":
            return model.pictures(model.noise(1, seed), text, model.place(box, None))[0]
        case _:
            return model.pictures(model.noise(1, seed), text)[0]
