"""The schema: every table, once, for both databases.

Ids are ULIDs as text, times milliseconds since the epoch, money nano-dollars; all three are never
NULL where they must be known. Lists and objects are JSON text. Every table of a tenant's things
begins its access path with `account_id`. Names of tables and columns never change.
"""

from gatewayz.store.sql.columns import METADATA as METADATA
from gatewayz.store.sql.tables.accounts import ACCOUNTS as ACCOUNTS
from gatewayz.store.sql.tables.accounts import API_KEYS as API_KEYS
from gatewayz.store.sql.tables.accounts import REVISIONS as REVISIONS
from gatewayz.store.sql.tables.accounts import TOKENS as TOKENS
from gatewayz.store.sql.tables.accounts import USERS as USERS
from gatewayz.store.sql.tables.audit import ACTIVITY as ACTIVITY
from gatewayz.store.sql.tables.audit import AUDIT_LOG as AUDIT_LOG
from gatewayz.store.sql.tables.calls import ATTEMPTS as ATTEMPTS
from gatewayz.store.sql.tables.calls import CALL_TEXTS as CALL_TEXTS
from gatewayz.store.sql.tables.calls import CALLS as CALLS
from gatewayz.store.sql.tables.calls import IDEMPOTENCY as IDEMPOTENCY
from gatewayz.store.sql.tables.calls import USAGE_DAYS as USAGE_DAYS
from gatewayz.store.sql.tables.calls import USAGE_MODELS as USAGE_MODELS
from gatewayz.store.sql.tables.catalog import MODEL_HEALTH as MODEL_HEALTH
from gatewayz.store.sql.tables.catalog import MODELS as MODELS
from gatewayz.store.sql.tables.catalog import OFFERS as OFFERS
from gatewayz.store.sql.tables.catalog import PRICES as PRICES
from gatewayz.store.sql.tables.catalog import PROVIDER_KEYS as PROVIDER_KEYS
from gatewayz.store.sql.tables.catalog import PROVIDER_SWITCHES as PROVIDER_SWITCHES
from gatewayz.store.sql.tables.conversations import MESSAGES as MESSAGES
from gatewayz.store.sql.tables.conversations import SESSIONS as SESSIONS
from gatewayz.store.sql.tables.money import BUDGETS as BUDGETS
from gatewayz.store.sql.tables.money import GRANTS as GRANTS
from gatewayz.store.sql.tables.money import HOLDS as HOLDS
from gatewayz.store.sql.tables.money import OWNERS as OWNERS
from gatewayz.store.sql.tables.money import PAYMENTS as PAYMENTS
from gatewayz.store.sql.tables.money import TRANSFERS as TRANSFERS
from gatewayz.store.sql.tables.money import WALLETS as WALLETS
from gatewayz.store.sql.tables.notifications import NOTICE_MARKS as NOTICE_MARKS
from gatewayz.store.sql.tables.notifications import NOTICES as NOTICES
from gatewayz.store.sql.tables.notifications import WEBHOOKS as WEBHOOKS
