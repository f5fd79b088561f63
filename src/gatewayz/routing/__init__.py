"""Which candidate, in what order, and what a fault means."""
