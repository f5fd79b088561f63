"""Who pays: holds and transfers."""
