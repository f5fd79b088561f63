"""The call path stays short: four nested generators, and one writer for everything that is known of a call."""

import ast
import inspect
from pathlib import Path

from gatewayz.engine.attempts import Attempts, UpstreamClient
from gatewayz.engine.gateway import Gateway
from gatewayz.engine.steps import StepRunner
from gatewayz.upstream.http1 import HttpExchange

SOURCE = Path(__file__).parents[2] / "src/gatewayz"
WRITERS = {
    "state": {"engine/call_state.py", "engine/gateway.py", "engine/settlement.py"},
    "progress": {"engine/attempts.py"},
    "meter": set(),
}
"""Which modules may assign to the attributes of each; a meter is written by its own methods alone."""


def assignments():
    """Every assignment `state.x = …`, `progress.x = …`, `meter.x = …`: the object, the attribute, the module."""
    for path in sorted((SOURCE / "engine").glob("*.py")) + sorted((SOURCE / "web").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AugAssign | ast.AnnAssign):
                targets = [node.target]
            for target in targets:
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(part, ast.Attribute):
                        owner = ast.unparse(part.value).rpartition(".")[2]
                        if owner in WRITERS:
                            yield owner, part.attr, str(path.relative_to(SOURCE))


def test_what_is_known_of_a_call_has_one_writer():
    writers: dict[tuple[str, str], set[str]] = {}
    for owner, attribute, module in assignments():
        assert module in WRITERS[owner], f"{module} writes {owner}.{attribute}"
        writers.setdefault((owner, attribute), set()).add(module)
    assert ("state", "hold") in writers
    assert ("progress", "candidate") in writers
    assert {name: modules for name, modules in writers.items() if len(modules) > 1} == {}


def test_an_answer_rises_through_four_generators():
    path = [HttpExchange.chunks, UpstreamClient.answer, Attempts.answer, Gateway.answer]
    assert all(inspect.isasyncgenfunction(step) for step in path)
    classes = (StepRunner, UpstreamClient, Attempts, Gateway)
    others = {
        f"{owner.__name__}.{name}"
        for owner in classes
        for name, member in vars(owner).items()
        if inspect.isasyncgenfunction(member)
    }
    assert others == {"UpstreamClient.answer", "Attempts.answer", "Gateway.answer"}
