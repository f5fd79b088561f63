"""The guide to the control plane: its settings load, and its commands and programs run as they stand, in their order,
in one shell beside a gateway that was just started.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gatewayz.settings import load_settings
from tests.support.gateway_process import CLEAN_ENV, GatewayProcess

GUIDE = (Path(__file__).parents[2] / "docs/guides/api.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)
SETTINGS = [yaml.safe_load(text) for kind, text in BLOCKS if kind == "yaml"]
URL, KEY = "http://127.0.0.1:8080", "gw_live_…"
STRICT = "set -euo pipefail\n"
RUN_S = 90


def curl_version():
    """Major and minor; (0, 0) where there is none."""
    try:
        output = subprocess.run(
            ["curl", "--version"], capture_output=True, text=True, timeout=10
        ).stdout
    except FileNotFoundError:
        return 0, 0
    return tuple(int(part) for part in output.split()[1].split(".")[:2])


def script():
    """Everything that the guide runs, as one script: a program in the middle of it sees what the shell exported."""
    for kind, text in BLOCKS:
        if kind == "sh":
            yield text
        elif kind == "python":
            yield f"python3 - <<'PROGRAM'\n{text}PROGRAM\n"


def run_script(directory, text):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.run(
        ["bash", "-c", STRICT + text],
        cwd=directory,
        env=CLEAN_ENV | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    return process.returncode, process.stdout, process.stderr


@pytest.fixture
def fill_guide(tmp_path):
    (tmp_path / "gatewayz.yaml").write_text(
        yaml.safe_dump({"data_dir": str(tmp_path / "data"), **SETTINGS[0]})
    )
    process = GatewayProcess(tmp_path)
    key = re.findall(r"gw_live_[0-9A-Za-z]+", process.wait_for("gw_live_", 40))[0]
    process.wait_for("http://", 40)
    yield lambda text: text.replace(URL, f"http://127.0.0.1:{process.port}").replace(KEY, key)
    process.stop()


def test_nothing_in_the_guide_is_left_out():
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "yaml"}
    assert GUIDE.count("```") == 2 * len(BLOCKS)
    assert all(
        "--fail-with-body" in line
        for text in script()
        for line in text.splitlines()
        if "curl " in line
    )


@pytest.mark.parametrize("given", SETTINGS)
def test_the_settings_of_the_guide_are_settings(given):
    assert load_settings("", given).settings.web.cors_origins == ("https://app.acme.example",)


@pytest.mark.skipif(
    curl_version() < (7, 82),
    reason="the examples need curl 7.82 or newer (--json), as the guide says",
)
def test_the_guide_runs_as_it_stands(tmp_path, fill_guide):
    status, output, errors = run_script(tmp_path, fill_guide("".join(script())))
    assert status == 0, output[-2000:] + errors[-2000:]
    assert (tmp_path / "calls.csv").read_text().startswith("id,")
    assert "input 0.5 per 1000000 = " in output, re.findall("input .*", output)
    assert '"adds_up":true' in output
    status, output, _ = run_script(
        tmp_path, fill_guide(BLOCKS[0][1] + "ask $GATEWAY/admin/accounts --json '{\"nme\": 1}'\n")
    )
    assert status != 0
    assert '"param":"' in output
