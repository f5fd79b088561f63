"""The function of each operation, by its id: the other half of `routes.py`. Loads FastAPI."""

from collections.abc import Awaitable, Callable
from typing import Any

from gatewayz.web.api import (
    accounts,
    audit,
    budgets,
    calls,
    catalog,
    credits,
    keys,
    openapi,
    openrouter,
    providers,
    tokens,
    transactions,
    usage,
    users,
    webhooks,
)
from gatewayz.web.api.shapes import ListResponse

ApiHandler = Callable[..., Awaitable[Any]]

HANDLERS: dict[str, ApiHandler] = {
    handler.__name__: handler
    for handler in (
        accounts.get_account,
        accounts.list_accounts,
        accounts.create_account,
        accounts.get_any_account,
        accounts.update_account,
        users.list_users,
        users.create_user,
        users.get_user,
        users.update_user,
        budgets.list_budgets,
        budgets.put_budget,
        budgets.delete_budget,
        budgets.list_any_budgets,
        budgets.put_any_budget,
        budgets.delete_any_budget,
        keys.list_keys,
        keys.create_key,
        keys.get_key,
        keys.update_key,
        keys.revoke_key,
        keys.rotate_key,
        keys.list_any_keys,
        keys.create_any_key,
        keys.get_any_key,
        keys.update_any_key,
        keys.revoke_any_key,
        keys.rotate_any_key,
        tokens.list_tokens,
        tokens.create_token,
        tokens.revoke_token,
        calls.list_calls,
        calls.get_call,
        calls.list_any_calls,
        calls.get_any_call,
        usage.get_usage,
        usage.get_any_usage,
        transactions.list_transactions,
        transactions.list_any_transactions,
        credits.get_credits,
        credits.create_topup,
        credits.create_grant,
        credits.create_adjustment,
        credits.create_refund,
        credits.check_ledger,
        webhooks.get_webhook,
        webhooks.put_webhook,
        webhooks.delete_webhook,
        webhooks.send_test_notification,
        webhooks.list_notifications,
        webhooks.get_any_webhook,
        webhooks.put_any_webhook,
        webhooks.delete_any_webhook,
        webhooks.list_any_notifications,
        catalog.list_models,
        catalog.put_model,
        catalog.delete_model,
        catalog.put_offer,
        catalog.list_prices,
        catalog.set_price,
        catalog.delete_price,
        providers.list_providers,
        providers.get_provider,
        providers.update_provider,
        providers.list_provider_keys,
        providers.create_provider_key,
        providers.delete_provider_key,
        audit.list_audit_entries,
        audit.verify_audit_log,
        openrouter.get_openrouter_credits,
        openrouter.get_openrouter_key,
        openrouter.get_openrouter_generation,
        openapi.openapi_document,
        openapi.docs_page,
        openapi.docs_start,
        openapi.docs_style,
        openapi.docs_script,
    )
}
"""Operation id, which is the function's name, → the function."""

CSV_MODELS: dict[ApiHandler, Any] = {
    calls.list_calls: ListResponse[calls.CallView],
    calls.list_any_calls: ListResponse[calls.CallView],
    usage.get_usage: ListResponse[usage.UsageView],
    usage.get_any_usage: ListResponse[usage.UsageView],
    transactions.list_transactions: ListResponse[transactions.TransactionView],
    transactions.list_any_transactions: ListResponse[transactions.TransactionView],
}
"""Operations that answer with a file to whoever asks for CSV → what they answer with as JSON."""

RESPONSE_MODELS: dict[ApiHandler, Any] = {
    **CSV_MODELS,
    openrouter.get_openrouter_credits: openrouter.OpenRouterCredits,
    openrouter.get_openrouter_key: openrouter.OpenRouterKeyResponse,
    openrouter.get_openrouter_generation: openrouter.OpenRouterGeneration,
}
"""Operations that may return a whole response → the model that the document describes."""
