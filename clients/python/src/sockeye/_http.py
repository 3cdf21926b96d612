"""Requests to the server, with the token."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import httpx

from ._errors import SockeyeError
from ._messages import Member, Page, Position, Presence, Publication, gap_from, member_from, message_from, parsed, position_from

Token = str | Callable[[], str | Awaitable[str]] | None

CONNECT_WITHIN = 10.0
ANSWER_WITHIN = 10.0
LONGEST_RETRY_AFTER = 300.0
LARGE_PAGE = 512 * 1024
"""Half of what the server puts into one page, in bytes: after a page of more there may be another."""
PAGE_BESIDE_MESSAGE = 8 * 1024 * 1024
"""How many bytes a page may have beside its largest message."""
SMALL = 64 * 1024
"""How many bytes other answers may have."""
FRESH_FOR = 0.8
"""After this part of its lifetime a token is replaced."""


class Http:
    """What sends requests to one server."""

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        name: str | None,
        headers: Mapping[str, str],
        context: ssl.SSLContext | None,
        http2: bool,
        max_message: int,
    ) -> None:
        self.base = base_url(url)
        self.headers = dict(headers)
        self.max_message = max_message
        self.fresh_until = float("inf")
        self._name = name
        self._context = context
        self._http2 = http2
        self._given = token
        self._token: str | None = None
        self._asking = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None

    @property
    def context(self) -> ssl.SSLContext | None:
        """What TLS trusts, where the server's URL asks for TLS."""
        if self._context is None and self.base.startswith("https:"):
            self._context = ssl.create_default_context()
        return self._context

    def url(self, path: str, query: Mapping[str, object] | None = None) -> str:
        given = {**(query or {}), "as": self._name}
        pairs = {name: value for name, value in given.items() if value is not None}
        return self.base + path + (f"?{urlencode(pairs)}" if pairs else "")

    async def token(self, refused: str | None = None) -> str | None:
        """The token to send, if there is one; another when the server refused `refused`."""
        given = self._given
        if given is None or isinstance(given, str):
            token = _clean(given) if given else None
            return None if token == refused else token
        async with self._asking:
            if self._token is None or self._token == refused or time.monotonic() >= self.fresh_until:
                try:
                    fresh = await _call(given)
                except Exception as error:
                    raise SockeyeError(f"There is no token: {error!r}", retry=True, retry_after=0.001) from error
                self._token = _clean(fresh)
                self.fresh_until = time.monotonic() + _lifetime(self._token) * FRESH_FOR
            return self._token

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        silent: float = ANSWER_WITHIN,
    ) -> AsyncIterator[httpx.Response]:
        """Sends a request. Gives the answer, whose body is still to be read, unless it is a refusal: that is raised.

        `silent` is for how many seconds nothing may come.
        """
        token = await self.token()
        try:
            response = await self._send(method, path, query, headers, content, silent, token)
            fresh = await self.token(token) if response.status_code == 401 and token else None
            if fresh:
                await response.aclose()
                response = await self._send(method, path, query, headers, content, silent, fresh)
            try:
                if not response.is_success and response.status_code != 304:
                    raise await _refusal(response)
                yield response
            finally:
                with suppress(httpx.HTTPError, OSError):
                    await response.aclose()
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise SockeyeError(str(error) or type(error).__name__) from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        silent: float,
        token: str | None,
    ) -> httpx.Response:
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            self._client = httpx.AsyncClient(verify=self.context or False, http2=self._http2, limits=limits)
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        request = self._client.build_request(
            method,
            self.url(path, query),
            headers={"Accept-Encoding": "identity", **self.headers, **authorization, **(headers or {})},
            content=content,
            timeout=httpx.Timeout(ANSWER_WITHIN, connect=CONNECT_WITHIN, read=silent),
        )
        return await self._client.send(request, stream=True)

    async def page(
        self,
        channel: str,
        *,
        after: str | None,
        limit: int,
        wait: int = 0,
        presence: bool = False,
        at: Position | None = None,
    ) -> Page:
        """One page of a channel, held by the server for `wait` seconds; with `at`, none that has nothing newer than that."""
        query = {"after": after, "limit": limit, "wait": wait or None, "presence": 1 if presence else None}
        headers = {"Accept": "application/json", **({"If-None-Match": f'"{at}"'} if at else {})}
        async with self._within(wait + ANSWER_WITHIN * 2):
            async with self.open("GET", channel_path(channel), query=query, headers=headers, silent=wait + ANSWER_WITHIN) as response:
                retry_after = _retry_after(response)
                if response.status_code == 304:
                    return Page(at or "", [], retry_after=retry_after)
                body = await _body(response, self.max_message + PAGE_BESIDE_MESSAGE)
        return _page_from(channel, parsed(body), limit, len(body), retry_after)

    async def publish(self, publication: Publication) -> Position:
        """Publishes, and gives the position."""
        headers = {"Content-Type": publication.content_type, "Idempotency-Key": publication.key}
        if publication.event:
            headers["Sockeye-Event"] = publication.event
        path = channel_path(publication.channel)
        async with self._within(ANSWER_WITHIN * 3):
            async with self.open("POST", path, headers=headers, content=publication.body) as response:
                return position_from(parsed(await _body(response, SMALL)).get("at"))

    async def presence(self, channel: str, after: str | None, limit: int) -> Presence:
        """A page of the members present."""
        query = {"after": after, "limit": limit}
        async with self._within(ANSWER_WITHIN * 2):
            async with self.open("GET", f"{channel_path(channel)}/presence", query=query) as response:
                value = parsed(await _body(response, self.max_message))
        members: list[Member] = [member_from(each) for each in value.get("members", [])]
        following = value.get("next")
        return Presence(int(value.get("count", 0)), members, None if following is None else str(following))

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise SockeyeError("The server does not answer.") from error


def base_url(url: str) -> str:
    """The URL of a server, with a slash at its end."""
    scheme, host, path, _, _ = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    if scheme not in ("http", "https") or not host:
        raise ValueError(f"{url!r} is not the URL of a server: write it as 'https://example.org/'")
    *_, before, last = ["", *path.split("/")]
    if before == "c" and last:
        raise ValueError(f"{url!r} is a channel: say where the server is; the channel's name is for subscribe and publish")
    return urlunsplit((scheme, host, path if path.endswith("/") else f"{path}/", "", ""))


def channel_path(channel: str) -> str:
    return f"c/{quote(channel, safe=':~@')}"


async def _call(given: Callable[[], str | Awaitable[str]]) -> str:
    """A function may take its time: it runs on a thread of its own."""
    if inspect.iscoroutinefunction(given):
        return cast(str, await given())
    result = await asyncio.to_thread(given)
    return await result if inspect.isawaitable(result) else result


async def _body(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise SockeyeError("The server sent an answer that is too long.")
    return bytes(body)


async def _refusal(response: httpx.Response) -> SockeyeError:
    status, about = response.status_code, {}
    with suppress(SockeyeError, httpx.HTTPError):
        about = parsed(await _body(response, SMALL))
    code = about.get("code")
    message = about.get("detail") or about.get("title") or f"The server answered {status}."
    return SockeyeError(
        str(message),
        code=code if isinstance(code, str) else None,
        status=status,
        retry_after=_retry_after(response),
    )


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return min(float(value), LONGEST_RETRY_AFTER) if value.isascii() and value.isdigit() else 0.0


def _page_from(channel: str, value: dict[str, Any], limit: int, size: int, retry_after: float) -> Page:
    messages = value.get("messages")
    if not isinstance(messages, list):
        raise SockeyeError("The server sent something else than a page.")
    gap = value.get("gap")
    return Page(
        position_from(value.get("at")),
        [message_from(channel, message) for message in messages],
        gap_from(channel, gap) if gap else None,
        end=value.get("end") is True,
        is_full=len(messages) >= limit or size > LARGE_PAGE,
        retry_after=retry_after,
        size=size,
    )


def _clean(token: str) -> str:
    """The token without the end of the line that a file of it has."""
    token = token.strip()
    if not re.fullmatch("[!-~]+", token):
        raise SockeyeError("`token` is not a token: it is empty, or has a blank or a character that is not ASCII.", retry=False)
    return token


def _lifetime(token: str) -> float:
    """How many seconds a JSON Web Token has left, by this clock or, if that is wrong, by its own dates."""
    try:
        claims = token.split(".")[1]
        about = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        left = float(about["exp"]) - time.time()
        return left if left > 0 or "iat" not in about else float(about["exp"]) - float(about["iat"])
    except (ValueError, TypeError, KeyError, IndexError):
        return float("inf")
