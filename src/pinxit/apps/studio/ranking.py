"""The page of a ranking study, and what it asks the server: `pinxit rank serve`.

An app of its own and not a page of the studio's: raters must find neither its models, which have names, nor its jobs.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pinxit.apps.studio.guard import MOST_JSON, Guard, told
from pinxit.apps.studio.refusals import Refused
from pinxit.errors import PinxitError
from pinxit.evaluation.ranking import DAY, MOST_METHODS, Intake

STATIC = Path(__file__).with_name("static")
API = "/api/v1/rank"
FILES = {
    "/": "rank.html",
    **{
        f"/{name}": name
        for name in ("icon.svg", "css/base.css", "css/rank.css", "js/rank.js", "js/dom.js", "js/i18n.js")
    },
}
"""All files that the page needs; nothing else is served."""

Rater = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
InRater = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]
InPicture = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Join(Strict):
    """Has read the instructions and begins."""


class Given(Strict):
    rater: Rater
    place: Annotated[int, Field(ge=0, le=1_000_000)]
    order: Annotated[list[Annotated[int, Field(ge=0, lt=MOST_METHODS)]], Field(min_length=2, max_length=MOST_METHODS)]
    seconds: Annotated[float, Field(ge=0, le=DAY)]


def create_app(intake: Intake, *, host: str = "127.0.0.1", token: str | None = None) -> FastAPI:
    """The study's page and its routes, behind the studio's guard."""
    app = FastAPI(title="Pinxit ranking", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Guard, host=host, token=token, most_bytes=MOST_JSON)
    app.exception_handlers.update({PinxitError: _refused, RequestValidationError: _bad_field, HTTPException: _http})
    mimetypes.add_type("text/javascript", ".js")  # where the system's own table has something else
    app.include_router(routes(intake))
    for address, name in FILES.items():
        app.add_api_route(address, _file(name), methods=["GET", "HEAD"], response_class=Response)
    return app


def _file(name: str) -> Any:
    def file() -> FileResponse:
        return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})

    return file


async def _refused(request: Request, error: Exception) -> Response:
    refused = error if isinstance(error, Refused) else Refused(400, "refused", str(error))
    return _told(refused.status, refused.code, str(refused))


async def _bad_field(request: Request, error: Exception) -> Response:
    return _told(422, "bad-field", "request is of another form, expected what the page sends; load the page anew")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "wrong-method"}.get(error.status_code, "refused")
    return _told(error.status_code, code, str(error.detail))


def _told(status: int, code: str, message: str) -> Response:
    return Response(told(code, message), status, media_type="application/json")


def routes(intake: Intake) -> APIRouter:
    api, study = APIRouter(prefix=API), intake.study

    def sheet(rater: str) -> JSONResponse:
        if rater not in intake:
            raise Refused(404, "no-such-rater", "rater is unknown, expected one of this study; begin anew")
        questions = []
        for question in intake.sheet(rater):
            item = study.items[question.item]
            questions.append(
                {"pictures": study.pictures_of(question), "condition": item.condition, "caption": item.caption}
            )
        given = intake.given(rater)
        answers = [given.get(place) for place in range(len(questions))]
        return JSONResponse({"rater": rater, "questions": questions, "answers": answers})

    @api.get("/study")
    def about() -> JSONResponse:
        return JSONResponse(
            {
                "study": study.id,
                "design": study.design,
                "question": study.question,
                "instructions": study.instructions,
                "seconds": study.seconds,
                "questions": study.per_rater + len(study.checks) + study.repeats,
                "checks": bool(study.checks),
            }
        )

    @api.post("/raters")
    def join(asked: Join) -> JSONResponse:
        return sheet(intake.join())

    @api.get("/raters/{rater}")
    def again(rater: InRater) -> JSONResponse:
        return sheet(rater)

    @api.post("/answers")
    def answer(given: Given) -> JSONResponse:
        if given.rater not in intake:
            raise Refused(404, "no-such-rater", "rater is unknown, expected one of this study; begin anew")
        intake.add(given.rater, given.place, given.order, given.seconds)
        return JSONResponse({"answered": len(intake.given(given.rater))})

    @api.get("/pictures/{id}")
    def picture(id: InPicture) -> FileResponse:
        path = study.picture(id)
        if path is None:
            raise Refused(404, "no-such-picture", "picture is unknown, expected one of this study; load the page anew")
        forever = {"Cache-Control": "private, max-age=31536000, immutable"}
        return FileResponse(path, media_type="image/png", headers=forever)

    return api
