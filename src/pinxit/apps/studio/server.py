"""The studio's HTTP API and its pages: what is asked is checked here, and done elsewhere."""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from pinxit.apps.cli.main import version
from pinxit.apps.studio.catalog import Catalog, Entry
from pinxit.apps.studio.decode import Decoder
from pinxit.apps.studio.drawings import Drawings
from pinxit.apps.studio.gallery import Gallery
from pinxit.apps.studio.guard import Guard, told
from pinxit.apps.studio.jobs import MOST_SKETCHES, Jobs
from pinxit.apps.studio.making import MOST_DIRECTIONS, Made, Maker, file_ids
from pinxit.apps.studio.pictures import Pictures
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.renders import Renders
from pinxit.apps.studio.segmenting import Segmenting
from pinxit.apps.studio.sentences import MOST_CHARACTERS
from pinxit.apps.studio.tracing import Tracing
from pinxit.data.images import to_image
from pinxit.data.labels import LabelSet
from pinxit.data.layouts import UNKNOWN, load_layouts
from pinxit.data.outlines import OUTLINES
from pinxit.errors import PinxitError, expected

STATIC = Path(__file__).with_name("static")
API = "/api/v1"

MOST_BYTES, MOST_PIXELS = 32 << 20, 1 << 24
"""Of an uploaded picture."""


@dataclass
class Studio:
    """All that the routes call."""

    catalog: Catalog
    pictures: Pictures
    drawings: Drawings
    renders: Renders
    gallery: Gallery
    jobs: Jobs
    maker: Maker
    decoder: Decoder
    segmenting: Segmenting
    tracing: Tracing
    device: str = "cpu"
    demo: bool = False
    host: str = "127.0.0.1"
    """What the server is bound to."""
    token: str | None = None
    most_bytes: int = MOST_BYTES
    body_seconds: float = 30

    def close(self) -> None:
        """End all threads and processes."""
        self.jobs.close()
        self.renders.close()
        self.decoder.close()


def open_studio(
    home: Path, folders: Sequence[Path] = (), *, device: str = "cpu", host: str = "127.0.0.1", token: str | None = None,
    demo: bool = False,
) -> Studio:  # fmt: skip
    """A studio whose gallery, jobs and trained models lie in `home`, with the models in `folders`. `close` it."""
    catalog, pictures = Catalog(folders, home / "runs", device), Pictures(home / "pictures")
    jobs = Jobs(home, catalog, pictures)  # which may refuse the home, before there is a thread to end
    return Studio(
        catalog,
        pictures,
        Drawings(catalog, pictures),
        Renders(),
        Gallery(home, pictures),
        jobs,
        Maker(catalog, pictures),
        Decoder(MOST_PIXELS),
        Segmenting(catalog, pictures),
        Tracing(catalog, pictures),
        device=device,
        demo=demo,
        host=host,
        token=token,
    )


# What requests hold. Nothing here ever becomes a path: pictures, models, jobs and entries are looked up by their ids.

PictureId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="id of a picture", examples=["0" * 32])]
ModelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$", description="id of a model, as in /models")]
Client = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="who asks: one name for each view of a page. A later request of the same client supersedes an "
        "earlier one that has not begun, which is answered with 409 `superseded`",
        examples=["my-script"],
    ),
]
Seed = Annotated[int, Field(ge=0, le=(1 << 53) - 1)]
Scale = Annotated[int, Field(ge=0, le=64)]
Side = Annotated[int, Field(ge=1, le=16384)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class SeedStyle(Strict):
    seed: Seed


class PictureStyle(Strict):
    picture: PictureId


class BetweenStyle(Strict):
    between: Annotated[list[SeedStyle | PictureStyle | BetweenStyle], Field(min_length=2, max_length=2)]
    at: Share


Style = SeedStyle | PictureStyle | BetweenStyle


class OnePicture(Strict):
    picture: PictureId


class Asked(Strict):
    """What all requests for a picture have."""

    client: Client


class Paint(Asked):
    map: PictureId | None = None
    sketch: Annotated[
        PictureId | None, Field(description="dark lines on white or on nothing, of the map's size; sent as a sketch")
    ] = None
    text: Annotated[
        Annotated[str, Field(max_length=1000)] | None,
        Field(description="what is to be seen, in any script; white space alone is as good as none"),
    ] = None
    style: Annotated[
        Style | None,
        Field(
            description='`{"seed": n}`, `{"picture": id}`, or `{"between": [style, style], "at": 0..1}`. In models of '
            "kind `mixed` a seed is that of chance, and of the picture's style there is none; between a picture and a "
            "seed the picture stays"
        ),
    ] = None
    use: Annotated[
        list[Literal["map", "sketch", "text", "style"]] | None,
        Field(max_length=4, description="which of these count; where it is left out, all that are given"),
    ] = None


class Translate(Asked):
    picture: PictureId
    direction: Literal["AtoB", "BtoA"] | None = None
    seed: Seed = 0


class PhotoToMap(Asked):
    picture: PictureId
    size: Annotated[
        list[Side], Field(min_length=2, max_length=2, description="[height, width] of the map; the photo is stretched")
    ]
    segmenter: Annotated[ModelId | None, Field(description="the first that fits, where it is left out")] = None


class PhotoToSketch(Asked):
    picture: PictureId
    size: Annotated[
        list[Side],
        Field(min_length=2, max_length=2, description="[height, width] of the sketch; the photo is stretched"),
    ]
    drawer: Annotated[
        ModelId | None,
        Field(description="a model of PhotoSketch; where it is left out, the first there is, else the edge detector"),
    ] = None
    edges: Annotated[bool, Field(description="the edge detector in any case, which needs no model")] = False


class Sample(Asked):
    seed: Seed = 0
    start_scale: Scale = 0
    size: Annotated[list[Side], Field(min_length=2, max_length=2, description="[height, width]")] | None = None


class SuperResolve(Asked):
    factor: Annotated[float, Field(gt=1, le=16)] = 2.0
    seed: Seed = 0


class PaintToImage(Asked):
    picture: PictureId
    start_scale: Scale
    seed: Seed = 0


class Blend(PaintToImage):
    mask: PictureId


class Mix(Strict):
    seed: Seed
    at: Annotated[int, Field(ge=0, le=18, description="how many layers, from the coarsest on, keep the first seed")]


class Generate(Asked):
    seed: Seed = 0
    truncation: Annotated[float, Field(ge=-2, le=2, description="1: as it comes; the nearer to 0, the more common")] = (
        0.7
    )
    mix: Annotated[Mix | None, Field(description="another seed, whose fine layers these are")] = None
    strengths: Annotated[
        list[Annotated[float, Field(ge=-20, le=20)]],
        Field(max_length=MOST_DIRECTIONS, description="of the principal directions, in standard deviations"),
    ] = []
    layers: Annotated[
        list[Annotated[int, Field(ge=0, le=18)]] | None,
        Field(min_length=2, max_length=2, description="the first that is moved, and the one behind the last; else all"),
    ] = None


Sentence = Annotated[str, Field(max_length=MOST_CHARACTERS, description="in any script", examples=["a red apple"])]


class Between(Strict):
    text: Sentence
    at: Annotated[Share, Field(description="how far towards it")]


class Illustrate(Asked):
    text: Sentence
    seed: Annotated[Seed, Field(description="of chance; another sentence of the same seed has the same")] = 0
    stage: Annotated[Literal[1, 2] | None, Field(description="of StackGAN; the last, where it is left out")] = None
    between: Annotated[Between | None, Field(description="another sentence, and how far towards it")] = None
    box: Annotated[
        list[Share] | None,
        Field(
            min_length=4,
            max_length=4,
            description="[x, y, width, height] of what is described, in parts of the side: of GAWWN; else the middle",
        ),
    ] = None


FORMS: dict[str, type[Asked]] = {
    "generate": Generate,
    "illustrate": Illustrate,
    "paint": Paint,
    "translate": Translate,
    "sample": Sample,
    "super-resolve": SuperResolve,
    "harmonize": Blend,
    "edit": Blend,
    "paint-to-image": PaintToImage,
    "reconstruct": Asked,
}


class Train(Strict):
    picture: PictureId
    preset: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,39}$")]
    seed: Annotated[int, Field(ge=0, le=(1 << 31) - 1)] = 0


class Animate(Strict):
    """The longest animation is one of the jobs' limits."""

    model: ModelId
    frames: Annotated[int, Field(ge=2, le=1000)] = 40
    start_scale: Scale = 2
    alpha: Share = 0.1
    beta: Share = 0.9
    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] = 0
    loop: bool = True
    fps: Annotated[float, Field(gt=0, le=100)] = 10


class Customise(Strict):
    model: Annotated[ModelId, Field(description="of StyleGAN2; it is left as it is")]
    photosketch: Annotated[ModelId, Field(description="of PhotoSketch, which draws what is generated")]
    sketches: Annotated[list[PictureId], Field(min_length=1, max_length=MOST_SKETCHES)]
    preset: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")] = "cpu"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,39}$")]
    seed: Annotated[int, Field(ge=0, le=(1 << 31) - 1)] = 0


# What answers hold, for the documentation.


class Problem(BaseModel):
    code: str = Field(description="for programs; stays the same between versions")
    message: str = Field(description="for people, one line")


class Refusal(BaseModel):
    error: Problem


class JobCounts(BaseModel):
    running: int
    queued: int


class Limits(BaseModel):
    bytes: int
    pixels: int


class Status(BaseModel):
    version: str
    device: str
    demo: bool
    jobs: JobCounts
    limits: Limits = Field(description="of an uploaded picture")


class Uploaded(BaseModel):
    id: str
    width: int
    height: int
    channels: int
    bits: int


class MapRead(BaseModel):
    map: str = Field(description="id of a picture: 8-bit grey, the ids that the model's label set has in files")
    width: int
    height: int
    labels: list[int] = Field(description="the ids in it")


class Layout(BaseModel):
    title: dict[str, str]
    map: str


class Segmenter(BaseModel):
    id: str
    name: str


class UnfitSegmenter(Segmenter):
    missing: list[str] = Field(description="the model's labels that it does not know")
    foreign: list[str] = Field(description="its classes that are no label of the model, which has no 'unknown' either")


class Segmenters(BaseModel):
    segmenters: list[Segmenter] = Field(description="those that know the model's labels, for /photo-to-map")
    unfit: list[UnfitSegmenter]


class ModelPhoto(BaseModel):
    picture: str


class Outline(BaseModel):
    title: dict[str, str]
    picture: str


class Seen(BaseModel):
    picture: str = Field(description="what a training sees: grey, of the model's size, lines dark")
    notes: list[str] = Field(description="what was done to it, and what is suspicious; a line each")


class Preset(BaseModel):
    name: str
    summary: str
    seconds: float | None
    memory: int | None


class Presets(BaseModel):
    presets: list[Preset]


class Model(BaseModel):
    id: str
    name: str
    method: str
    kind: Literal["map", "mixed", "picture", "sentence", "photo", "generator", "segmenter", "other"] = Field(
        description="what it paints from; `mixed`: any of its inputs, or none; a sentence, see /illustrate; a "
        "generator needs nothing, see /generate; a segmenter paints nothing, see /photo-to-map"
    )
    embedded: bool
    bytes: int
    inputs: dict[str, Literal["required", "optional", "no"]] = Field(
        description="of `map`, `sketch`, `text`, `style` and `picture`"
    )
    card: dict[str, str] = Field(description="where it comes from, and its licence")
    size: list[int] | None = Field(description="[height, width] that it was trained at")
    label_set: dict[str, Any] | None = Field(description="`labels` with `id`, `name`, `color`, `group`; `unknown`")
    first_style: int = Field(description="the seed to begin with")
    style_picture: bool = Field(description="whether a style may be taken from a picture")
    instances: bool
    directions: list[str]
    channels: dict[str, int] | None
    scales: list[list[int]] | None = Field(description="[height, width] of each scale of a model of one photo")
    stages: list[list[int]] | None = Field(description="[height, width] of the pictures of each stage, of StackGAN")
    box: bool = Field(description="whether /illustrate takes a `box`")
    sentences: list[str] = Field(description="to begin with")


class Models(BaseModel):
    models: list[Model]
    problems: dict[str, str] = Field(description="model files that cannot be read, and why")


class GalleryEntry(BaseModel):
    id: int
    created: str = Field(description="ISO 8601, UTC")
    kind: str = Field(description="the verb: paint, translate, sample, …")
    model: str
    recipe: dict[str, Any] = Field(description="how it was made: `kind`, `model` and the fields of that request")
    picture: str


class Job(BaseModel):
    id: int
    kind: Literal["train", "animate", "sketch"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    name: str
    model: str | None = Field(description="of a finished training; of an animation, the one it is made with")
    progress: float = Field(ge=0, le=1)
    stage: str
    seconds_left: float | None
    message: str
    created: str
    preset: str | None
    preview: int = Field(description="changes when there is a new one; 0 where there is none")
    previews: int = Field(description="how many there are by now")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    words = {
        400: "refused: the model cannot do that",
        404: "no such thing",
        408: "too slow",
        409: "superseded by a later request of the same client, disk full, or not in this state",
        413: "too large",
        415: "not a picture",
        422: "bad field",
        423: "the studio's file is locked by another program",
    }
    return {status: {"model": Refusal, "description": words[status]} for status in (*statuses, 422)}


def picture_answer(*statuses: int, kind: str = "image/png", **headers: str) -> dict[int | str, dict[str, Any]]:
    """Documentation of an answer that is a picture."""
    told = {name.replace("_", "-"): {"description": d, "schema": {"type": "string"}} for name, d in headers.items()}
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"content": content, "description": "the picture", "headers": told}, **refusals(*statuses)}


MADE = picture_answer(
    400,
    404,
    409,
    413,
    X_Pinxit_Picture="id of the picture: for /pictures, for requests that take one, and for POST /gallery",
    X_Pinxit_Seconds="how long it took to make",
)
InModel = Annotated[str, InPath(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$", description="id of a model")]
InPicture = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$", description="id of a picture")]
InEntry = Annotated[int, InPath(ge=1, le=(1 << 53) - 1, description="id of an entry")]
As = Annotated[
    Literal["photo", "map", "mask", "sketch"],
    Query(
        alias="as",
        description="`photo`: colours, upright, over white where transparent. `map`: the ids or colours of the file. "
        "`mask`: its alpha channel, or else how bright it is. `sketch`: colours, transparent where it is",
    ),
]
FILE = {"schema": {"type": "string", "format": "binary"}}
KINDS = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "application/octet-stream")
FRUITS = {
    "pear": "洋梨",
    "strawberry": "いちご",
    "cherry": "さくらんぼ",
    "lychee": "ライチ",
    "carambola": "スターフルーツ",
    "huckleberry": "ハックルベリー",
    "date": "デーツ",
    "salak": "サラク",
}
InJob = Annotated[int, InPath(ge=1, le=(1 << 53) - 1, description="id of a job")]


def create_app(studio: Studio) -> FastAPI:
    """The API and the pages of `studio`, behind its guard. The studio is started and closed with the app."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(studio.jobs.start)
        yield
        await asyncio.to_thread(studio.close)

    app = FastAPI(
        title="Pinxit studio",
        version="1",
        summary="Paint label maps to pictures, translate pictures, and all that can be made of one photo.",
        description=DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # these load scripts from elsewhere; /api.html is ours
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,
    )
    app.add_middleware(
        Guard, host=studio.host, token=studio.token, most_bytes=studio.most_bytes, seconds=studio.body_seconds
    )
    app.exception_handlers.update(
        {
            PinxitError: _refused,
            RequestValidationError: _bad_field,
            HTTPException: _http,
            OSError: _disk,
        }
    )
    app.include_router(routes(studio))
    mimetypes.add_type("text/javascript", ".js")  # where the system's own table has something else
    app.mount("/", Pages(directory=STATIC, html=True))
    return app


DESCRIPTION = f"""Everything is below `{API}`. Bodies are JSON, but for `POST /pictures`, whose body is the file itself.
A picture that is sent or made has an id, which is how others name it; it is there as long as it is recent, or in the
gallery. A refusal is a status 4xx with `{{"error": {{"code", "message"}}}}`.

Names, fields and codes stay as they are as long as the path says `v1`; fields may be added to answers."""


def routes(studio: Studio) -> APIRouter:
    """All of the API."""
    api = APIRouter(prefix=API)

    async def made(kind: str, model: str, asked: Asked) -> Response:
        recipe = {"kind": kind, "model": model, **asked.model_dump(exclude={"client"})}
        return _picture(await studio.renders.run(asked.client, lambda: studio.maker.make(recipe)))

    @api.get("/status", tags=["server"], summary="What runs here", responses={200: {"model": Status}})
    def status() -> JSONResponse:
        limits = {"bytes": studio.most_bytes, "pixels": studio.decoder.most_pixels}
        fields = {"device": studio.device, "demo": studio.demo, "jobs": studio.jobs.counts(), "limits": limits}
        return JSONResponse({"version": version(), **fields})

    @api.post(
        "/pictures",
        tags=["pictures"],
        summary="Send a picture",
        responses={200: {"model": Uploaded}, **refusals(408, 413, 415)},
        openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(KINDS, FILE)}},
    )
    async def send_picture(request: Request, what: As) -> JSONResponse:
        """The body is the file: PNG, JPEG, WebP, GIF or BMP. Only its pixels are kept, and served again as PNG."""
        array = await studio.decoder.decode(await request.body(), what)
        id = await asyncio.to_thread(studio.pictures.add, array)
        height, width, channels = (*array.shape, 1)[:3]
        size = {"width": width, "height": height, "channels": channels, "bits": 8 * array.itemsize}
        return JSONResponse({"id": id, **size})

    @api.get(
        "/pictures/{id}",
        tags=["pictures"],
        summary="A picture that was sent or made",
        response_class=Response,
        responses=picture_answer(404),
    )
    def picture(id: InPicture) -> Response:
        # The id is a hash of the content, which can never be another.
        forever = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(studio.pictures.png(id), media_type="image/png", headers=forever)

    @api.get("/models", tags=["models"], summary="All models", responses={200: {"model": Models}})
    def models() -> JSONResponse:
        """Those that come along, those in the folders given at start, and those trained here."""
        found = [entry.to_json() for entry in studio.catalog.entries()]
        return JSONResponse({"models": found, "problems": dict(studio.catalog.problems)})

    @api.get("/models/{id}", tags=["models"], summary="A model", responses={200: {"model": Model}, **refusals(404)})
    def model(id: InModel) -> JSONResponse:
        return JSONResponse(studio.catalog.entry(id).to_json())

    @api.get(
        "/models/{id}/layouts",
        tags=["models"],
        summary="Drawn maps to begin with",
        responses={200: {"model": list[Layout]}, **refusals(404)},
    )
    def layouts(id: InModel) -> JSONResponse:
        """Street scenes, as maps for /paint, where the model's label set has what they need; else an empty list."""
        entry = studio.catalog.entry(id)
        drawn = _layouts(entry) if entry.inputs["map"] != "no" else []
        return JSONResponse([{"title": title, "map": studio.pictures.add(map)} for title, map in drawn])

    @api.get(
        "/models/{id}/outlines",
        tags=["models"],
        summary="Drawn pictures to begin with",
        responses={200: {"model": list[Outline]}, **refusals(404)},
    )
    def outlines(id: InModel) -> JSONResponse:
        """Outlines of fruits, for a model that was trained on such; else an empty list."""
        entry = studio.catalog.entry(id)
        drawn = [(o.name, o.draw(entry.size[0])) for o in OUTLINES] if entry.size and _paints_fruits(entry) else []
        added = [(name, studio.pictures.add(np.asarray(picture))) for name, picture in drawn]
        return JSONResponse(
            [{"title": {"en": name, "ja": FRUITS[name]}, "picture": picture} for name, picture in added]
        )

    @api.post(
        "/models/{id}/map",
        tags=["models"],
        summary="Any map as a model's ids",
        responses={200: {"model": MapRead}, **refusals(400, 404)},
    )
    def read_map(id: InModel, asked: OnePicture) -> JSONResponse:
        """`picture`: sent as a map, of ids or of the colours of the model's label set."""
        map = file_ids(studio.pictures.get(asked.picture), _labels(studio.catalog.entry(id)))
        height, width = map.shape
        added, labels = studio.pictures.add(map), np.unique(map).tolist()
        return JSONResponse({"map": added, "width": width, "height": height, "labels": labels})

    @api.get(
        "/models/{id}/segmenters",
        tags=["models"],
        summary="The models that find a model's labels in photos",
        responses={200: {"model": Segmenters}, **refusals(400, 404)},
    )
    def segmenters(id: InModel) -> JSONResponse:
        return JSONResponse(studio.segmenting.offered(id))

    @api.post(
        "/models/{id}/photo-to-map",
        tags=["models"],
        summary="A photo as a model's map",
        response_class=Response,
        responses=MADE,
    )
    async def photo_to_map(id: InModel, asked: PhotoToMap) -> Response:
        """`picture`: sent as a photo. The answer is a grey picture of the ids that the model's label set has in files,
        as /paint takes it. 409 `no-segmenter` where no model fits."""
        height, width = asked.size
        work = partial(studio.segmenting.map, id, asked.picture, (height, width), asked.segmenter)
        return _picture(await studio.renders.run(asked.client, work))

    @api.post(
        "/models/{id}/photo-to-sketch",
        tags=["models"],
        summary="A photo as a model's sketch",
        response_class=Response,
        responses=MADE,
    )
    async def photo_to_sketch(id: InModel, asked: PhotoToSketch) -> Response:
        """`picture`: sent as a photo. The answer is a grey picture of dark lines on white, as /paint takes it."""
        height, width = asked.size
        work = partial(studio.tracing.sketch, id, asked.picture, (height, width), asked.drawer, edges=asked.edges)
        return _picture(await studio.renders.run(asked.client, work))

    @api.get(
        "/models/{id}/photo",
        tags=["models"],
        summary="The photo that a model has learnt",
        responses={200: {"model": ModelPhoto}, **refusals(400, 404)},
    )
    def photo(id: InModel) -> JSONResponse:
        """What parts are pasted into, for /harmonize and /edit."""
        model = studio.catalog.model(id)
        if studio.catalog.entry(id).kind != "photo":
            raise expected(f"model {id}", "of many pictures", "one of a photo", "choose another")
        return JSONResponse({"picture": studio.pictures.add(np.asarray(to_image(model.photo[0].cpu())))})

    make = {"tags": ["make"], "response_class": Response, "responses": MADE}

    @api.post("/models/{id}/paint", summary="A map, a sketch, a sentence, a style to a picture", **make)
    async def paint(id: InModel, asked: Paint) -> Response:
        """`map`: a grey picture of the ids that the model's label set has in files; see /models/{id}/map. What a model
        takes, and which of it is needed, its `inputs` say: those of kind `mixed` take any of it, or nothing."""
        return await made("paint", id, asked)

    @api.post("/models/{id}/translate", summary="A picture to a picture", **make)
    async def translate(id: InModel, asked: Translate) -> Response:
        """`seed`: of what dropout leaves out, in models that have it when they paint."""
        return await made("translate", id, asked)

    @api.post("/models/{id}/sample", summary="A variation of a model's photo", **make)
    async def sample(id: InModel, asked: Sample) -> Response:
        """`start_scale`: what is coarser stays as in the photo."""
        return await made("sample", id, asked)

    @api.post("/models/{id}/super-resolve", summary="A model's photo, enlarged", **make)
    async def super_resolve(id: InModel, asked: SuperResolve) -> Response:
        return await made("super-resolve", id, asked)

    @api.post("/models/{id}/harmonize", summary="What was pasted into a model's photo, made to belong there", **make)
    async def harmonize(id: InModel, asked: Blend) -> Response:
        """`mask`: white where; of the picture's size."""
        return await made("harmonize", id, asked)

    @api.post("/models/{id}/edit", summary="A model's photo with parts moved, made seamless", **make)
    async def edit(id: InModel, asked: Blend) -> Response:
        """`mask`: white where; of the picture's size."""
        return await made("edit", id, asked)

    @api.post("/models/{id}/paint-to-image", summary="A flat painting as a photo", **make)
    async def paint_to_image(id: InModel, asked: PaintToImage) -> Response:
        return await made("paint-to-image", id, asked)

    @api.post("/models/{id}/generate", summary="A picture of a generator", **make)
    async def generate(id: InModel, asked: Generate) -> Response:
        """By a model of StyleGAN2. Principal directions are found when they are first asked for, which takes
        seconds."""
        return await made("generate", id, asked)

    @api.post("/models/{id}/illustrate", summary="A picture of a sentence", **make)
    async def illustrate(id: InModel, asked: Illustrate) -> Response:
        """By a model of kind `sentence`. Of a long one the first words count: with the encoder that such models bring,
        31. One that is empty is refused."""
        return await made("illustrate", id, asked)

    @api.post("/models/{id}/reconstruct", summary="A model's photo, as the model gives it back", **make)
    async def reconstruct(id: InModel, asked: Asked) -> Response:
        return await made("reconstruct", id, asked)

    @api.get(
        "/gallery",
        tags=["gallery"],
        summary="What was kept, the newest first",
        responses={200: {"model": list[GalleryEntry]}, **refusals(423)},
    )
    def gallery() -> JSONResponse:
        return JSONResponse(studio.gallery.list())

    @api.post(
        "/gallery",
        tags=["gallery"],
        summary="Keep a picture that was made here",
        responses={200: {"model": GalleryEntry}, **refusals(404, 409, 423)},
    )
    def keep(asked: OnePicture) -> JSONResponse:
        """With how it was made, and the pictures that it was made from."""
        return JSONResponse(studio.gallery.add(asked.picture))

    @api.delete(
        "/gallery/{id}",
        tags=["gallery"],
        summary="Remove a kept picture",
        status_code=204,
        response_class=Response,
        responses=refusals(404, 409, 423),
    )
    def remove_kept(id: InEntry) -> Response:
        studio.gallery.remove(id)
        return Response(status_code=204)

    @api.get(
        "/gallery/{id}/picture",
        tags=["gallery"],
        summary="A kept picture",
        response_class=Response,
        responses=picture_answer(404, 423),
    )
    def kept_picture(id: InEntry) -> Response:
        return Response(studio.pictures.png(studio.gallery.get(id)["picture"]), media_type="image/png")

    @api.get(
        "/gallery/{id}/thumbnail",
        tags=["gallery"],
        summary="A kept picture, small",
        response_class=Response,
        responses=picture_answer(404, 423),
    )
    def thumbnail(id: InEntry) -> Response:
        return Response(studio.gallery.thumbnail(id), media_type="image/png")

    @api.post(
        "/gallery/{id}/again",
        tags=["gallery"],
        summary="Make a kept picture again",
        response_class=Response,
        responses=picture_answer(
            400,
            404,
            409,
            X_Pinxit_Picture="id of the new picture",
            X_Pinxit_Seconds="how long it took",
            X_Pinxit_Same="`true` where each pixel is as in the kept one",
        ),
    )
    async def again(id: InEntry, asked: Asked) -> Response:
        entry = await asyncio.to_thread(studio.gallery.get, id)
        recipe = _checked(entry["recipe"], asked.client)
        new = await studio.renders.run(asked.client, lambda: studio.maker.make(recipe, afresh=True))
        same = "true" if new.id == entry["picture"] else "false"
        return _picture(new, **{"X-Pinxit-Same": same})

    @api.get(
        "/presets/singan",
        tags=["jobs"],
        summary="How long a training would take here",
        responses={200: {"model": Presets}, **refusals(400, 404)},
    )
    def presets(picture: Annotated[PictureId, Query(description="the photo")]) -> JSONResponse:
        """The first time for a size of photo it takes seconds: some steps are measured."""
        names = ("summary", "seconds", "memory")
        found = [{"name": f["preset"], **{n: f[n] for n in names}} for f in studio.jobs.forecasts(picture)]
        return JSONResponse({"presets": found})

    @api.get("/jobs", tags=["jobs"], summary="All jobs", responses={200: {"model": list[Job]}})
    def jobs() -> JSONResponse:
        return JSONResponse(studio.jobs.list())

    @api.get("/jobs/{id}", tags=["jobs"], summary="A job", responses={200: {"model": Job}, **refusals(404)})
    def job(id: InJob) -> JSONResponse:
        return JSONResponse(studio.jobs.get(id))

    begin: dict[str, Any] = {"tags": ["jobs"], "responses": {200: {"model": Job}, **refusals(400, 404, 409, 423)}}

    @api.post("/jobs/train", summary="Train a model on one photo", **begin)
    def train(asked: Train) -> JSONResponse:
        """Queued, and done in a process of its own. It goes on after a restart of the server."""
        return JSONResponse(studio.jobs.train(asked.picture, asked.preset, asked.name, asked.seed))

    @api.post("/jobs/animate", summary="Animate a model's photo", **begin)
    def animate(asked: Animate) -> JSONResponse:
        return JSONResponse(studio.jobs.animate(asked.model, **asked.model_dump(exclude={"model"})))

    @api.post(
        "/models/{id}/sketch",
        tags=["models"],
        summary="A sketch as a generator's training sees it",
        responses={200: {"model": Seen}, **refusals(400, 404)},
    )
    def seen(id: InModel, asked: OnePicture) -> JSONResponse:
        """`picture`: sent as a sketch. For SVGs send a picture of them."""
        picture, notes = studio.drawings.seen(id, asked.picture)
        return JSONResponse({"picture": picture, "notes": notes})

    @api.post("/jobs/sketch", summary="Customise a generator by sketches", **begin)
    def customise(asked: Customise) -> JSONResponse:
        """Queued, and done in a process of its own, as trainings are. What comes of it is another generator."""
        for picture in asked.sketches:
            studio.drawings.seen(asked.model, picture)  # that none is blank is told now, not by a process that fails
        return JSONResponse(studio.jobs.sketch(**asked.model_dump()))

    @api.post("/jobs/{id}/cancel", summary="Stop a job", **begin)
    def cancel(id: InJob) -> JSONResponse:
        """What a training has learnt is kept; see /jobs/{id}/resume."""
        return JSONResponse(studio.jobs.cancel(id))

    @api.post("/jobs/{id}/resume", summary="Go on with a job that failed or was stopped", **begin)
    def resume(id: InJob) -> JSONResponse:
        return JSONResponse(studio.jobs.resume(id))

    @api.delete(
        "/jobs/{id}",
        tags=["jobs"],
        summary="Forget a job that has ended",
        status_code=204,
        response_class=Response,
        responses=refusals(404, 409, 423),
    )
    def remove_job(id: InJob) -> Response:
        """The model of a training that is done stays."""
        studio.jobs.remove(id)
        return Response(status_code=204)

    @api.get(
        "/jobs/{id}/preview",
        tags=["jobs"],
        summary="What a training makes by now",
        response_class=Response,
        responses=picture_answer(404),
    )
    def preview(
        id: InJob,
        at: Annotated[int | None, Query(ge=0, le=1_000_000, description="the oldest is 0; else the newest")] = None,
    ) -> Response:
        return Response(studio.jobs.preview(id, at), media_type="image/png")

    @api.get(
        "/jobs/{id}/result",
        tags=["jobs"],
        summary="An animation",
        response_class=Response,
        responses=picture_answer(404, kind="image/gif"),
    )
    def result(id: InJob) -> Response:
        name = f"pinxit-{id}.gif"
        return FileResponse(studio.jobs.result(id), media_type="image/gif", filename=name)

    @api.get(
        "/jobs/{id}/frames",
        tags=["jobs"],
        summary="An animation's frames",
        response_class=Response,
        responses=picture_answer(
            404, X_Pinxit_Frames="how many there are, one below the other", X_Pinxit_Fps="how many a second"
        ),
    )
    def frames(id: InJob) -> Response:
        """In one picture, without the loss of colours that a GIF has."""
        strip, number, fps = studio.jobs.frames(id)
        headers = {"X-Pinxit-Frames": str(number), "X-Pinxit-Fps": f"{fps:g}"}
        return Response(strip, media_type="image/png", headers=headers)

    return api


def _picture(made: Made, **headers: str) -> Response:
    headers = {"X-Pinxit-Picture": made.id, "X-Pinxit-Seconds": f"{made.seconds:.3f}", **headers}
    return Response(made.png, media_type="image/png", headers=headers)


def _checked(recipe: dict[str, Any], client: str) -> dict[str, Any]:
    """A recipe out of the gallery's file, which may be of another version. Raises `Refused`."""
    kind, model = recipe.get("kind"), recipe.get("model")
    fields = {name: value for name, value in recipe.items() if name not in ("kind", "model")}
    try:
        return {
            "kind": kind,
            "model": model,
            **FORMS[str(kind)](client=client, **fields).model_dump(exclude={"client"}),
        }
    except (KeyError, TypeError, ValidationError) as error:
        got = "of another version of Pinxit"
        raise Refused(409, "no-recipe", f"recipe is {got}, expected one of this; make the picture anew") from error


def _labels(entry: Entry) -> LabelSet:
    if entry.label_set is None:
        raise expected(f"model {entry.id}", "without labels", "one that paints maps", "choose another")
    return LabelSet.from_json(entry.label_set)


def _layouts(entry: Entry) -> list[tuple[dict[str, str], np.ndarray]]:
    """(title, ids of the model's label set) of each street that it can paint all of."""
    labels = _labels(entry)
    names = [label.name for label in labels.labels]
    known = {*names, *([UNKNOWN] if entry.label_set and entry.label_set.get("unknown") else [])}
    fitting = [layout for layout in load_layouts() if {shape.label for shape in layout.shapes} <= known]
    size = (entry.size[0], entry.size[1]) if entry.size else None
    return [(dict(o.title), file_ids(labels.ids_of(o.draw(names, size or o.size)), labels)) for o in fitting]


def _paints_fruits(entry: Entry) -> bool:
    return entry.method == "pix2pix" and (entry.id == "fruits" or "edges2fruits" in entry.card.get("data", ""))


async def _refused(request: Request, error: Exception) -> Response:
    refused = error if isinstance(error, Refused) else Refused(400, "refused", str(error))
    return _told(refused.status, refused.code, str(refused))


async def _bad_field(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _told(422, "bad-field", bad_field(error.errors()[0]))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "wrong-method"}.get(error.status_code, "refused")
    return _told(error.status_code, code, str(error.detail))


async def _disk(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return _told(409, "disk-full", f"disk is full ({error.strerror}), expected room on it; free some")


def _told(status: int, code: str, message: str) -> Response:
    return Response(told(code, message), status, media_type="application/json")


def bad_field(error: dict[str, Any]) -> str:
    """One line of the first thing that pydantic found wrong."""
    if error["type"] == "json_invalid":
        return "body is no JSON, expected a JSON object; see /api.html"
    # Of a union each member is in the path, by the name of its class here.
    skipped = {"body", "path", "query", *(form.__name__ for form in (SeedStyle, PictureStyle, BetweenStyle))}
    place = [str(part) for part in error["loc"] if part not in skipped]
    thing = ascii(".".join(place))[1:-1][:100] or "body"
    match error["type"]:
        case "missing":
            return f"{thing} is missing, expected {'a JSON object' if thing == 'body' else 'one'}; see /api.html"
        case "extra_forbidden":
            return f"{thing} is unknown, expected fields of this request alone; see /api.html"
        case "string_pattern_mismatch":
            want = f"text of the form {error['ctx']['pattern']}"
        case _:
            want = error["msg"].removeprefix("Input should ").removeprefix("String should ").removeprefix("be ")
    got = ascii(error.get("input"))[:60] if not isinstance(error.get("input"), dict | list) else "of another form"
    return f"{thing} is {got}, expected {want}; see /api.html"


class Pages(StaticFiles):
    """The page and what belongs to it; browsers ask each time whether it has changed, since Pinxit may be updated."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response
