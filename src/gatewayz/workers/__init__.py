"""What a process does beside its calls: the catalogue's lists, notifications."""
