"""Downloads over aiohttp behind the guard: a connection is opened to a permitted address or not at all."""

import functools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from scrapy.core.downloader.handlers._aiohttp import AiohttpDownloadHandler, _ClientResponse
from scrapy.core.downloader.handlers._base_streaming import BaseStreamingDownloadHandler
from scrapy.http import Headers, Request
from scrapy.utils.ssl import _make_ssl_context

from selfai_pipeline.sources.address_guard import AddressRules, literal_address
from selfai_pipeline.sources.outcomes import REFUSED
from selfai_pipeline.sources.refusals import NotFetched

RULES_SETTING = "SELFAI_ADDRESS_RULES"
MOST_HEADER_BYTES = 65_536
MOST_HEADERS = 512
MOST_INTERIM_ANSWERS = 20
SENT_BY_SCRAPY = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class GuardedResolver(AbstractResolver):
    """Resolves names to permitted addresses only; of a literal address aiohttp asks no resolver.

    `granted` holds the (address, port) that it has given out.

    Args:
        resolver: what is asked for the addresses of a name.
    """

    def __init__(self, rules: AddressRules, resolver: AbstractResolver) -> None:
        self.rules = rules
        self.resolver = resolver
        self.granted: set[tuple[str, int]] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The permitted addresses of `host`.

        Raises:
            NotFetched: it has addresses, and none of them is permitted.
            OSError: it has none.
        """
        found = await self.resolver.resolve(host, port, family)
        permitted = [one for one in found if self.rules.permits(one["host"], host=host, port=port)]
        if found and not permitted:
            raise NotFetched(REFUSED, "private_address")
        self.granted.update((one["host"], port) for one in permitted)
        return permitted

    async def close(self) -> None:
        await self.resolver.close()

    def open_socket(self, address: Any) -> socket.socket:
        """A socket for a connection to an address, as getaddrinfo describes it; the last gate before it.

        Raises:
            PermissionError: the address is not permitted, however it got here.
        """
        family, kind, protocol, _, (host, port, *_) = address
        if (host, port) not in self.granted and not self.rules.permits(host, host=host, port=port):
            raise PermissionError(f"{host} may not be connected to")
        return socket.socket(family, kind, protocol)


class BoundedAnswers(ResponseHandler):
    """One connection: a site that sends one interim answer (1xx) after the other is hung up on.

    aiohttp keeps them all until the final one, and memory for each.
    """

    interim = 0

    def set_response_params(self, **values: Any) -> None:
        self.interim = 0
        super().set_response_params(**values)

    def feed_data(self, data: Any, size: int = 0) -> None:
        if 100 <= data[0].code < 200:
            self.interim += 1
            if self.interim > MOST_INTERIM_ANSWERS:
                if self.transport is not None:
                    self.transport.abort()
                return
        super().feed_data(data, size)


class GuardedDownloads(AiohttpDownloadHandler):
    """Scrapy's downloads over aiohttp, which cost a third of its default ones, behind the guard."""

    experimental = False

    def __init__(self, crawler: Any) -> None:
        # Past its own constructor, which makes a session that asks whatever address it is given.
        BaseStreamingDownloadHandler.__init__(self, crawler)
        self.rules: AddressRules = crawler.settings[RULES_SETTING]
        self._ssl_context = _make_ssl_context(crawler.settings)
        resolver = GuardedResolver(self.rules, aiohttp.ThreadedResolver())
        connector = aiohttp.TCPConnector(
            resolver=resolver,
            socket_factory=resolver.open_socket,
            limit=self._pool_size_total,
            limit_per_host=self._pool_size_per_host,
        )
        connector._factory = functools.partial(BoundedAnswers, loop=connector._loop)  # type: ignore[assignment]
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            response_class=_ClientResponse,
            skip_auto_headers=SENT_BY_SCRAPY,
            max_line_size=MOST_HEADER_BYTES,
            max_field_size=MOST_HEADER_BYTES,
            max_headers=MOST_HEADERS,
        )

    @asynccontextmanager
    async def _make_request(self, request: Request, timeout: float) -> AsyncIterator[Any]:
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        literal = literal_address(host)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if literal is not None and not self.rules.permits(str(literal), host=host, port=port):
            raise NotFetched(REFUSED, "private_address")
        # Scrapy has escaped the address already; another library's taste would ask for another one.
        request.meta["verbatim_url"] = True
        async with super()._make_request(request, timeout) as response:
            yield response

    @staticmethod
    def _extract_headers(response: _ClientResponse) -> Headers:
        # Byte for byte: not every site writes them in UTF-8.
        return Headers(list(response.raw_headers))
