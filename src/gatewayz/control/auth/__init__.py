"""Who calls: principals read from the store, cached in memory, and digests rehashed."""
