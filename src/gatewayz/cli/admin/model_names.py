"""Models that accounts and keys are bound to: names that somebody wrote, as the catalogue has them."""

from gatewayz.cli.admin.parse import parse_list
from gatewayz.cli.catalog import load_catalog
from gatewayz.settings import load_settings


def resolve_models(config: str, data_dir: str | None, names: str) -> tuple[str, ...]:
    """The canonical ids of models that are named with commas, in any spelling.

    A rule holds for the id: another spelling in it would let nobody use the model. Faults:
    `unknown_model` with near names.
    """
    catalog = load_catalog(load_settings(config, {"data_dir": data_dir}))
    return tuple(dict.fromkeys(catalog.resolve(name).model for name in parse_list(names)))
