"""Where FastAPI's handlers find the request's context: in the ASGI scope that it was put into."""

from gatewayz.control.context import RequestContext
from gatewayz.web.asgi import Scope

CONTEXT_KEY = "gatewayz"


def scope_with_context(scope: Scope, ctx: RequestContext) -> Scope:
    """A copy of the scope that holds the context."""
    return {**scope, CONTEXT_KEY: ctx}


def context_from_scope(scope: Scope) -> RequestContext:
    """The context of the request that the scope belongs to."""
    ctx: RequestContext = scope[CONTEXT_KEY]
    return ctx
