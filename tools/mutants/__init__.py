"""Planted mistakes: whether the tests notice what must never go wrong."""
