"""Who pays: transfers, holds, budgets; decisions only, as functions of values."""
