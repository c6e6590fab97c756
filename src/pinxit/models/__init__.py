"""A folder a method. `METHODS` is the only list of them; a method's package is imported when it is used."""

METHODS: dict[str, str] = {
    "spade": "pinxit.models.spade",
    "singan": "pinxit.models.singan",
    "pix2pix": "pinxit.models.pix2pix",
    "cyclegan": "pinxit.models.cyclegan",
    "pix2pixhd": "pinxit.models.pix2pixhd",
    "deeplabv3": "pinxit.models.deeplabv3",
    "stylegan2": "pinxit.models.stylegan2",
    "photosketch": "pinxit.models.photosketch",
    "sketching": "pinxit.models.sketching",
    "charcnnrnn": "pinxit.models.charcnnrnn",
    "poegan": "pinxit.models.poegan",
    "stackgan": "pinxit.models.stackgan",
    "ganintcls": "pinxit.models.ganintcls",
    "gawwn": "pinxit.models.gawwn",
}
