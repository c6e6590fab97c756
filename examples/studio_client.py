"""A client of `pinxit studio` with nothing but Python's standard library. All requests: http://127.0.0.1:8377/api.html

pinxit studio --no-open &
python studio_client.py painted.png             # the first drawn street
python studio_client.py painted.png my_map.png  # a map of your own: ids, or colours of the label set
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4


class Refused(Exception):
    """What the studio refuses: `status` is HTTP's, `code` is for programs, the text for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Studio:
    """The studio at `url`, or the address with `?token=…` that it has printed. Pictures are named by their ids."""

    def __init__(self, url: str = "http://127.0.0.1:8377", token: str | None = None) -> None:
        url, _, in_url = url.partition("?token=")
        self.url, self.token = url.rstrip("/") + "/api/v1", token or in_url or None
        # Of several requests by one client the studio answers the latest; each `Studio` is a client.
        self.client = uuid4().hex

    def models(self) -> list[dict[str, Any]]:
        """What can be painted with: "id", "kind" ("map", "picture" or "photo"), "label_set", …"""
        return self._json("GET", "/models")["models"]

    def layouts(self, model: str) -> list[dict[str, Any]]:
        """Drawn maps to begin with: {"title", "map"}."""
        return self._json("GET", f"/models/{model}/layouts")

    def upload(self, file: Path, what: str = "photo") -> str:
        """Send a picture, as a "photo", a "map" or a "mask"; -> its id."""
        kind = "application/octet-stream"
        answer, _ = self._ask("POST", f"/pictures?as={what}", file.read_bytes(), kind)
        return json.loads(answer)["id"]

    def map(self, model: str, file: Path) -> str:
        """Send a label map of ids or colours; -> the id of a map for `paint`."""
        return self._json("POST", f"/models/{model}/map", {"picture": self.upload(file, "map")})["map"]

    def paint(self, model: str, map: str, seed: int = 0) -> str:
        """A map to a picture, in the style of a seed; -> its id."""
        return self._made(model, "paint", map=map, style={"seed": seed})

    def translate(self, model: str, picture: str, direction: str | None = None) -> str:
        """A picture to a picture; `direction`: "AtoB" or "BtoA", where the model has both."""
        return self._made(model, "translate", picture=picture, direction=direction)

    def sample(self, model: str, seed: int = 0) -> str:
        """A variation of the photo that a model was trained on."""
        return self._made(model, "sample", seed=seed)

    def save(self, picture: str, file: Path) -> None:
        """Write a picture as PNG."""
        file.write_bytes(self._ask("GET", f"/pictures/{picture}")[0])

    def keep(self, picture: str) -> dict[str, Any]:
        """Put a picture that was made here into the gallery; -> its entry."""
        return self._json("POST", "/gallery", {"picture": picture})

    def _made(self, model: str, verb: str, **fields: Any) -> str:
        body = json.dumps({**fields, "client": self.client}).encode()
        return self._ask("POST", f"/models/{model}/{verb}", body)[1]["X-Pinxit-Picture"]

    def _json(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Any:
        return json.loads(self._ask(method, path, None if fields is None else json.dumps(fields).encode())[0])

    def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[bytes, Any]:
        headers = {"Content-Type": kind} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                problem = json.loads(error.read())["error"]
            raise Refused(error.code, problem["code"], problem["message"]) from None


def main(arguments: list[str]) -> None:
    """Paint a map."""
    parser = argparse.ArgumentParser(description="Paint a label map in a running `pinxit studio`.")
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("map", type=Path, nargs="?", help="label map (default: the first drawn street)")
    parser.add_argument("--url", default="http://127.0.0.1:8377", help="as the studio prints it, with its token if any")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seed", type=int, default=19, help="of the style")
    o = parser.parse_args(arguments)
    studio = Studio(o.url)
    try:
        map = studio.layouts(o.model)[0]["map"] if o.map is None else studio.map(o.model, o.map)
        studio.save(studio.paint(o.model, map, o.seed), o.out)
    except (Refused, OSError) as error:
        sys.exit(f"studio_client: {error}")
    print(f"painted: {o.out.resolve()}")


if __name__ == "__main__":
    main(sys.argv[1:])
