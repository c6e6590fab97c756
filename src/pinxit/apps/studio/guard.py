"""What stands before the studio's server: who may ask, from which page, with how large a body."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from pinxit.apps.studio.refusals import Refused

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "pinxit-token"
UPLOADS = "/api/v1/pictures"
MOST_JSON = 1 << 16
"""Bytes of a body that is no picture."""
MOST_HELD = 4
"""As many bodies of the largest size may be held at once, all requests together."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""On every answer."""

NO_TOKEN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Pinxit studio</title>
<h1>This studio asks for a token</h1>
<p>Open the address with <code>?token=…</code> that it has printed where it was started.
<p>If this browser has done so before: <a href="/">go on</a>.
</html>
"""


class Guard:
    """ASGI, around `app`.

    `host`: what the server is bound to. `token`: what requests have to bring, if any. `most_bytes`: of an uploaded
    picture. `seconds`: for a body to arrive in.

    A request whose client has gone is cancelled. What `app` raises becomes a 500 and is printed: a defect of ours.
    """

    def __init__(
        self, app: App, *, host: str = "127.0.0.1", token: str | None = None, most_bytes: int, seconds: float = 30
    ) -> None:
        self.app, self.host, self.token, self.most_bytes, self.seconds = app, host, token, most_bytes, seconds
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":  # there are none here
            await receive()
            return await send({"type": "websocket.close", "code": 1008})

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                present = {name.lower() for name, _ in message.get("headers", ())}
                more = HEADERS if b"cache-control" in present else {**HEADERS, "cache-control": "no-store"}
                extra = [(name.encode(), value.encode()) for name, value in more.items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        held = 0
        try:
            self._admit(scope)
            if location := self._with_cookie(scope):
                return await answer(send_with_headers, 303, b"", [location, ("set-cookie", self._cookie())])
            body = bytearray()
            async for part in self._parts(scope, receive):
                held += len(part)
                self._held += len(part)
                if self._held > MOST_HELD * self.most_bytes:
                    raise Refused(
                        429, "busy", "server is busy with other uploads, expected fewer at once; send it later"
                    )
                body += part
            await self._serve(scope, bytes(body), receive, send_with_headers)
        except _ClientGone:
            return None
        except Refused as refused:
            await refuse(send_with_headers, refused, page=scope["path"] == "/" and scope["method"] == "GET")
        except Exception:
            traceback.print_exc(file=sys.stderr)
            if not started:
                await answer_json(send_with_headers, 500, "defect", "the server has a defect; see what it has printed")
        finally:
            self._held -= held
        return None

    def _admit(self, scope: Scope) -> None:
        """Raises `Refused` for a request of somebody else's."""
        host = _only(scope, b"host")
        if host is None or not self._own(host):
            message = f"host is {_shown(host)}, expected that of this server; open the address that it has printed"
            raise Refused(403, "foreign-host", message)
        if scope["method"] not in ("GET", "HEAD"):
            # Of pages; a program sends neither header. Where a browser sends no Sec-Fetch-Site, it sends an Origin.
            origins, sites = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
            if any(origin != f"{scope['scheme']}://{host}" for origin in origins):
                message = f"origin is {_shown(origins[0])}, expected a page of this server; use the page that it serves"
                raise Refused(403, "foreign-origin", message)
            if any(site not in ("same-origin", "none") for site in sites):
                message = f"page is {_shown(sites[0])}, expected one of this server; use the page that it serves"
                raise Refused(403, "foreign-origin", message)
        if self.token is not None and not any(self._fits(token) for token in self._tokens(scope)):
            message = "token is missing or another, expected the one that the server has printed; send it"
            raise Refused(401, "no-token", message)

    def _own(self, host: str) -> bool:
        """Whether a Host header names this machine, whatever the port: a tunnel may have another."""
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
        if (port and not port.isdecimal()) or not name:
            return False
        name = name.removeprefix("[").removesuffix("]").lower()
        if name == "localhost" or name == self.host.lower():
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            # Of names a server on all addresses knows only its own. DNS can be rebound to those of others.
            own = socket.gethostname().lower()
            return _everywhere(self.host) and name in (own, own.partition(".")[0], f"{own.partition('.')[0]}.local")
        return address.is_loopback or _everywhere(self.host)

    def _tokens(self, scope: Scope) -> list[str]:
        """What a request brings: in `Authorization: Bearer`, in the cookie, or in the address of the page."""
        tokens = [v[7:] for v in _values(scope, b"authorization") if v[:7].lower() == "bearer "]
        for text in _values(scope, b"cookie"):
            try:
                cookie = SimpleCookie(text)
            except CookieError:
                continue
            if COOKIE in cookie:
                tokens.append(cookie[COOKIE].value)
        return tokens + self._in_address(scope)

    def _in_address(self, scope: Scope) -> list[str]:
        # Of the page alone: an address is kept in histories and logs.
        if scope["path"] != "/" or scope["method"] not in ("GET", "HEAD"):
            return []
        return [value for name, value in _query(scope) if name == "token"]

    def _with_cookie(self, scope: Scope) -> tuple[str, str] | None:
        """Where a browser that came with the token in the address is sent, now that it has the cookie."""
        if self.token is None or not any(self._fits(token) for token in self._in_address(scope)):
            return None
        rest = urlencode([(name, value) for name, value in _query(scope) if name != "token"])
        return ("location", "/?" + rest if rest else "/")

    def _cookie(self) -> str:
        return f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict"

    def _fits(self, token: str) -> bool:
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    async def _parts(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `Refused` as soon as it is too long or too late, `_ClientGone`."""
        most = self.most_bytes if scope["path"] == UPLOADS else MOST_JSON
        message = f"body is larger than {most:,} bytes, expected less; make it smaller"
        if any(not v.isdecimal() or int(v[:20]) > most for v in _values(scope, b"content-length")):
            raise Refused(413, "too-large", message)
        size, clock = 0, asyncio.get_running_loop().time
        end = clock() + self.seconds
        while True:
            try:
                got = await asyncio.wait_for(receive(), max(0.0, end - clock()))
            except TimeoutError:
                late = f"body is not complete after {self.seconds:g} s, expected all of it; send it at once"
                raise Refused(408, "too-slow", late) from None
            if got["type"] == "http.disconnect":
                raise _ClientGone
            part = got.get("body", b"")
            size += len(part)
            if size > most:
                raise Refused(413, "too-large", message)
            yield part
            if not got.get("more_body", False):
                return

    async def _serve(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Let the app answer, for as long as the client is there."""
        gone, given = asyncio.Event(), False

        async def receive_body() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            serving.cancel()

        serving = asyncio.ensure_future(self.app(scope, receive_body, send))
        watching = asyncio.ensure_future(watch())
        try:
            await serving
        except asyncio.CancelledError:
            if not gone.is_set():  # it is this request that is cancelled: the server ends
                raise
        finally:
            serving.cancel()
            watching.cancel()


class _ClientGone(Exception):
    """Nobody waits for an answer any more."""


async def refuse(send: Send, refused: Refused, *, page: bool = False) -> None:
    """`page`: a person looks at the answer."""
    if page and refused.code == "no-token":
        await answer(send, refused.status, NO_TOKEN.encode(), [("content-type", "text/html; charset=utf-8")])
    else:
        await answer_json(send, refused.status, refused.code, str(refused))


async def answer_json(send: Send, status: int, code: str, message: str) -> None:
    await answer(send, status, told(code, message), [("content-type", "application/json")])


async def answer(send: Send, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
    headers = [*headers, ("content-length", str(len(body)))]
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def told(code: str, message: str) -> bytes:
    """The body of every answer that is a refusal."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached from this machine alone."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _everywhere(host: str) -> bool:
    """Whether a server is bound to all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _only(scope: Scope, name: bytes) -> str | None:
    values = _values(scope, name)
    return values[0] if len(values) == 1 else None


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _shown(text: str | None) -> str:
    return "missing" if text is None else ascii(text[:60])
