"""Observers: what happens to facts, the log and the metrics."""
