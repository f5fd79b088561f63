"""The small pages: models, health, metrics. Each is a function from a request to a whole answer."""

from collections.abc import Callable
from urllib.parse import unquote

from gatewayz import __version__
from gatewayz.catalog.offers import Model
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.dialects.base import Spoken
from gatewayz.dialects.jsontext import encoded
from gatewayz.providers.spec import Provider

JSON = (("content-type", "application/json"),)
PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


def _json(value: object, status: int = 200) -> Spoken:
    return Spoken(status, JSON, encoded(value))


class Pages:
    """Everything that is asked for with GET. `tail` is what follows the route's path."""

    def __init__(
        self,
        *,
        listing: Callable[[], tuple[Model, ...]],
        providers: Callable[[], dict[str, Provider]],
        breakers: Callable[[], dict[tuple[str, str], str]],
        metrics: Callable[[], bytes],
        draining: Callable[[], bool],
    ) -> None:
        self._listing = listing
        self._providers = providers
        self._breakers = breakers
        self._metrics = metrics
        self._draining = draining

    def models(self, tail: str) -> Spoken:
        return _json({"object": "list", "data": [_model(model) for model in self._listing()]})

    def model(self, tail: str) -> Spoken:
        wanted = unquote(tail)
        for model in self._listing():
            if wanted == model.id or wanted in model.aliases:
                return _json(_model(model))
        raise Fault("unknown_model", f"The model '{wanted}' does not exist.", param="model")

    def live(self, tail: str) -> Spoken:
        return _json({"status": "live", "version": __version__})

    def ready(self, tail: str) -> Spoken:
        if self._draining():
            return _json({"status": "draining"}, 503)
        on = sum(1 for provider in self._providers().values() if not provider.off)
        return _json({"status": "ready" if on else "no provider is on", "providers": on}, 200 if on else 503)

    def health(self, tail: str) -> Spoken:
        breakers = self._breakers()
        rows = [
            {
                "provider": provider.id,
                "state": "off" if provider.off else "on",
                "why": provider.off,
                "verified": provider.verified,
                "breakers": {subject[1]: state for subject, state in breakers.items() if subject[0] == provider.id},
            }
            for provider in self._providers().values()
        ]
        return _json({"providers": rows})

    def metrics(self, tail: str) -> Spoken:
        return Spoken(200, PROMETHEUS, self._metrics())


def _model(model: Model) -> dict[str, object]:
    prices = [offer.price for offer in model.offers if offer.price is not None]
    cheapest = min(prices, key=lambda price: price.input + price.output, default=None)
    shown: dict[str, object] = {
        "id": model.id,
        "object": "model",
        "created": model.created_s,
        "owned_by": model.id.partition("/")[0],
        "context_length": model.context,
        "providers": [offer.provider for offer in model.offers],
    }
    return shown | ({"pricing": _pricing(cheapest)} if cheapest is not None else {})


def _pricing(price: Price) -> dict[str, str]:
    """US dollars per token as text, the form that OpenRouter made common."""
    return {"prompt": _per_token(price.input), "completion": _per_token(price.output)}


def _per_token(pico: int) -> str:
    return f"{pico / 10**12:.12f}".rstrip("0").rstrip(".") or "0"
