"""Mistakes in what a call is charged, and in what of its usage is believed."""

from tools.mutants.mistake import Mistake

LAWS = ("tests/money/test_laws_of_settlement.py",)
METER = ("tests/money/test_usage_bounds.py", *LAWS)
EXTENSION = ("tests/money/test_extension.py",)
REPLAYS = ("tests/money/test_idempotency.py",)
SHOWN = ("tests/money/test_answers_without_usage.py", "tests/money/test_shown_cost.py")
MARKER = (
    "tests/money/test_store_away.py"
    "::test_content_finish_and_usage_leave_at_once_and_the_marker_after_the_commit"
)
CHARGE, METER_FILE = "engine/charge.py", "engine/usage_meter.py"

SETTLEMENT_MISTAKES: tuple[Mistake, ...] = (
    Mistake(
        "an answer that its provider broke off is charged",
        "settlement",
        CHARGE,
        'if fault.rule.ending == "release" and not',
        'if fault.rule.ending == "none" and not',
        LAWS,
    ),
    Mistake(
        "a client that left pays more than was held",
        "settlement",
        CHARGE,
        "return min(whole, hold.amount) if hold is not None and hold.recorded else whole",
        "return whole",
        LAWS,
    ),
    Mistake(
        "a client that left pays nothing",
        "settlement",
        "core/faults.py",
        '"client_gone": FaultRule(499, ending="settle")',
        '"client_gone": FaultRule(499)',
        LAWS,
    ),
    Mistake(
        "an empty answer is charged",
        "settlement",
        CHARGE,
        "return NO_CHARGE if empty and not usage.completion else cost",
        "return NO_CHARGE if empty and usage.completion else cost",
        LAWS,
    ),
    Mistake(
        "an account's own markup is not charged",
        "settlement",
        METER_FILE,
        "markup_bp = self._call.principal.markup_bp\n",
        "markup_bp = None\n",
        LAWS,
    ),
    Mistake(
        "a report beyond all bounds is charged: bound_usage is ignored",
        "settlement",
        METER_FILE,
        "usage, beyond = bound_usage(complete, self._call.request, offer)",
        'usage, beyond = complete, ""',
        METER,
    ),
    Mistake(
        "a report beyond its bounds is not said to be one",
        "settlement",
        "engine/usage_bounds.py",
        "return replace(usage, **changes, repaired=True)",
        "return replace(usage, **changes)",
        METER,
    ),
    Mistake(
        "reports of one answer are summed instead of the last one taken",
        "settlement",
        "core/usage.py",
        "counts = {bucket: getattr(before, bucket) for bucket in older}",
        'counts = {"output": before.output + after.output} if after.output else {}',
        METER,
    ),
    Mistake(
        "zeros at the end take the place of a good report",
        "settlement",
        "core/usage.py",
        "return replace(after, **counts) if counts else after",
        "return after",
        METER,
    ),
    Mistake(
        "thinking is no output",
        "settlement",
        METER_FILE,
        "elif other_kinds[event.block] is Kind.REASONING:",
        "elif other_kinds[event.block] is Kind.TEXT:",
        METER,
    ),
    Mistake(
        "an estimate of a prompt is not marked",
        "settlement",
        METER_FILE,
        "usage = replace(usage, input=estimate.input, estimated=True)",
        "usage = replace(usage, input=estimate.input)",
        METER,
    ),
    Mistake(
        "an answer without a report is free",
        "settlement",
        METER_FILE,
        "if self._reported is None:\n            return self._estimate(offer)",
        "if self._reported is None:\n            return Usage()",
        METER,
    ),
    Mistake(
        "what is shown is the report and not what is charged",
        "settlement",
        METER_FILE,
        "usage = self._charged_usage(reported.usage, offer)\n        last",
        "usage = reported.usage\n        last",
        (*METER, *SHOWN),
    ),
    Mistake(
        "the cheapest candidate is held",
        "settlement",
        "catalog/pricing.py",
        "return max(amounts, default=Nanos(0))",
        "return min(amounts, default=Nanos(0))",
        LAWS,
    ),
    Mistake(
        "the tier of a long prompt is not charged",
        "settlement",
        "core/money.py",
        "rates_of(price, usage.prompt, usage.service)",
        "rates_of(price, 0, usage.service)",
        ("tests/unit/test_money.py",),
    ),
    Mistake(
        "a settlement ends with the client that waits for it",
        "settlement",
        "engine/settlement.py",
        "return await asyncio.shield(state.settlement_task)",
        "return await state.settlement_task",
        LAWS,
    ),
    Mistake(
        "a call is settled after the marker",
        "settlement",
        "engine/gateway.py",
        "await self._settle(state)\n                    yield end",
        "yield end\n                    await self._settle(state)",
        (MARKER,),
    ),
    Mistake(
        "a refused call leaves no record",
        "settlement",
        "engine/settlement.py",
        "elif state.admitted:",
        "elif not state.admitted:",
        EXTENSION,
    ),
    Mistake(
        "an answer goes on that nobody pays for",
        "settlement",
        "engine/gateway.py",
        "            except Fault:\n                return False",
        "            except Fault:\n                return True",
        EXTENSION,
    ),
    Mistake(
        "what failed with nothing delivered keeps its key",
        "settlement",
        "engine/settlement.py",
        "if state.claimed and state.progress.candidate is None and state.replayed is None:",
        "if state.claimed and state.progress.candidate is not None:",
        REPLAYS,
    ),
)
