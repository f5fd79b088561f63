"""`gatewayz doctor` and what it looks for; `providers`, `settings`, one real call to a provider."""
