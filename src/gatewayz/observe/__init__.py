"""Rim: subscribers to facts."""
