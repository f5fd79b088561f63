"""Health and metrics: each a function from a request to a whole answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from gatewayz import __version__
from gatewayz.dialects.kit.base import HttpResponse
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.providers.spec import Provider
from gatewayz.web.handler_request import HandlerRequest
from gatewayz.web.models import ModelHandlers

JSON = (("content-type", "application/json"),)
PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


def _json_response(value: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status, JSON, encode_json(value))


class StatusHandlers:
    """Answers health checks and metrics.

    `process`: which of the gateway's processes this is, as "1 of 4"; breakers are its own.
    """

    def __init__(  # noqa: PLR0913 - it is wired once, in assemble
        self,
        *,
        models: ModelHandlers,
        providers: Callable[[], Mapping[str, Provider]],
        breakers: Callable[[], dict[tuple[str, str], str]],
        metrics: Callable[[], Awaitable[bytes]],
        draining: Callable[[], bool],
        can_book: Callable[[], bool] = lambda: True,
        background: Callable[[], tuple[Mapping[str, float], Sequence[str]]] = lambda: ({}, ()),
        process: str = "1 of 1",
    ) -> None:
        self.models = models
        self._providers = providers
        self._breakers = breakers
        self._metrics = metrics
        self._draining = draining
        self._can_book = can_book
        self._background = background
        self._process = process

    async def root(self, request: HandlerRequest) -> HttpResponse:
        """What some clients ask first, by HEAD, to see that a server is there."""
        return _json_response({"name": "gatewayz", "version": __version__})

    async def live(self, request: HandlerRequest) -> HttpResponse:
        """Whether the process runs."""
        return _json_response({"status": "live", "version": __version__})

    async def ready(self, request: HandlerRequest) -> HttpResponse:
        """Whether new calls may come: 503 while the server drains, while nothing can be booked (the
        store is away, its disk is full), without a provider, or while a background task stands
        still.
        """
        if self._draining():
            return _json_response({"status": "draining"}, 503)
        if not self._can_book():
            return _json_response({"status": "the store cannot be written"}, 503)
        on = sum(1 for provider in self._providers().values() if not provider.off)
        ages_s, stalled = self._background()
        why = "" if on else "no provider is on"
        if stalled:
            why = f"stands still: {', '.join(stalled)}"
        ages = {name: round(age_s, 1) for name, age_s in ages_s.items()}
        body = {"status": why or "ready", "providers": on, "background_age_s": ages}
        return _json_response(body, 503 if why else 200)

    async def health(self, request: HandlerRequest) -> HttpResponse:
        """Every provider, and the circuit breakers of its offers."""
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
        return _json_response({"process": self._process, "providers": rows})

    async def metrics(self, request: HandlerRequest) -> HttpResponse:
        """All metrics, in the text format of Prometheus."""
        return HttpResponse(200, PROMETHEUS, await self._metrics())
