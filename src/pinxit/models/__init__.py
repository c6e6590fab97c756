"""A folder a method. `METHODS` is the only list of them; a method's package is imported when it is used."""

METHODS: dict[str, str] = {
    "spade": "pinxit.models.spade",
    "singan": "pinxit.models.singan",
}
