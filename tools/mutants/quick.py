"""A plugin of pytest's: a counterexample that notices a mistake need not be a small one."""

from hypothesis import Phase, settings


def pytest_configure() -> None:
    """Laws stop at the first counterexample; after the profile of the tests, before they load."""
    settings.register_profile(
        "quick", settings.get_profile("same"), phases=(Phase.explicit, Phase.generate)
    )
    settings.load_profile("quick")
