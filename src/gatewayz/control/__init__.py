"""What operators and customers change and look at: accounts, keys, credit, webhooks, overrides."""
