"""A provider that needs no key."""
