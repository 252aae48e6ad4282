"""Downloads over aiohttp behind the guard: a connection is opened to a permitted address or not at all."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from scrapy.core.downloader.handlers._aiohttp import AiohttpDownloadHandler
from scrapy.http import Request

from selfai_pipeline.sources.address_guard import AddressRules, literal_address
from selfai_pipeline.sources.outcomes import REFUSED
from selfai_pipeline.sources.refusals import NotFetched

RULES_SETTING = "SELFAI_ADDRESS_RULES"


class GuardedResolver(AbstractResolver):
    """Resolves names to permitted addresses only; of a literal address aiohttp asks no resolver.

    Args:
        resolver: what is asked for the addresses of a name.
    """

    def __init__(self, rules: AddressRules, resolver: AbstractResolver) -> None:
        self.rules = rules
        self.resolver = resolver

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
        return permitted

    async def close(self) -> None:
        await self.resolver.close()


class GuardedDownloads(AiohttpDownloadHandler):
    """Scrapy's downloads over aiohttp, which cost a third of its default ones, behind the guard."""

    experimental = False

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        self.rules: AddressRules = crawler.settings[RULES_SETTING]
        connector = self._session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        connector._resolver = GuardedResolver(self.rules, aiohttp.ThreadedResolver())

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
