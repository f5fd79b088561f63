"""Rim: what is kept."""
