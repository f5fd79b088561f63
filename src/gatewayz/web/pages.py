"""The small pages: health, metrics. Each is a function from a request to a whole answer."""

from collections.abc import Awaitable, Callable

from gatewayz import __version__
from gatewayz.dialects.base import Spoken
from gatewayz.dialects.jsontext import encoded
from gatewayz.providers.spec import Provider
from gatewayz.web.asked import Asked
from gatewayz.web.models import ModelPages

JSON = (("content-type", "application/json"),)
PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


def _json(value: object, status: int = 200) -> Spoken:
    return Spoken(status, JSON, encoded(value))


class Pages:
    """What is asked for with GET, but for the models.

    `process`: which of the gateway's processes this is; what it remembers of providers is its own.
    """

    def __init__(
        self,
        *,
        models: ModelPages,
        providers: Callable[[], dict[str, Provider]],
        breakers: Callable[[], dict[tuple[str, str], str]],
        metrics: Callable[[], Awaitable[bytes]],
        draining: Callable[[], bool],
        process: str = "1 of 1",
    ) -> None:
        self.models = models
        self._providers = providers
        self._breakers = breakers
        self._metrics = metrics
        self._draining = draining
        self._process = process

    async def root(self, asked: Asked) -> Spoken:
        """What some clients ask first, by HEAD, to see that somebody is there."""
        return _json({"name": "gatewayz", "version": __version__})

    async def live(self, asked: Asked) -> Spoken:
        return _json({"status": "live", "version": __version__})

    async def ready(self, asked: Asked) -> Spoken:
        if self._draining():
            return _json({"status": "draining"}, 503)
        on = sum(1 for provider in self._providers().values() if not provider.off)
        return _json(
            {"status": "ready" if on else "no provider is on", "providers": on}, 200 if on else 503
        )

    async def health(self, asked: Asked) -> Spoken:
        breakers = self._breakers()
        rows = [
            {
                "provider": provider.id,
                "state": "off" if provider.off else "on",
                "why": provider.off,
                "verified": provider.verified,
                "breakers": {
                    subject[1]: state
                    for subject, state in breakers.items()
                    if subject[0] == provider.id
                },
            }
            for provider in self._providers().values()
        ]
        return _json({"process": self._process, "providers": rows})

    async def metrics(self, asked: Asked) -> Spoken:
        return Spoken(200, PROMETHEUS, await self._metrics())
