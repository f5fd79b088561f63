"""Commands on the store, one module each: accounts, users, keys, budgets, credits and more."""
