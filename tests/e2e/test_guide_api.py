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

from gatewayz.settings import loaded
from tests.support.served import CLEAN, Served

GUIDE = (Path(__file__).parents[2] / "docs/guides/api.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)
SETTINGS = [yaml.safe_load(text) for kind, text in BLOCKS if kind == "yaml"]
URL, KEY = "http://127.0.0.1:8080", "gw_live_…"
STRICT = "set -euo pipefail\n"
RUN_S = 90


def curl_version():
    """Major and minor; (0, 0) where there is none."""
    try:
        said = subprocess.run(
            ["curl", "--version"], capture_output=True, text=True, timeout=10
        ).stdout
    except FileNotFoundError:
        return 0, 0
    return tuple(int(part) for part in said.split()[1].split(".")[:2])


def script():
    """Everything that the guide runs, as one script: a program in the middle of it sees what the shell exported."""
    for kind, text in BLOCKS:
        if kind == "sh":
            yield text
        elif kind == "python":
            yield f"python3 - <<'PROGRAM'\n{text}PROGRAM\n"


def ran(place, text):
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", STRICT + text],
        cwd=place,
        env=CLEAN | {"PATH": here},
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def gateway(tmp_path):
    (tmp_path / "gatewayz.yaml").write_text(
        yaml.safe_dump({"data_dir": str(tmp_path / "data"), **SETTINGS[0]})
    )
    served = Served(tmp_path)
    key = re.search(r"gw_live_[0-9A-Za-z]+", served.until("gw_live_", 40))[0]
    served.until("http://", 40)
    yield lambda text: text.replace(URL, f"http://127.0.0.1:{served.port}").replace(KEY, key)
    served.stop()


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
    assert loaded("", given).settings.web.cors_origins == ("https://app.acme.example",)


@pytest.mark.skipif(
    curl_version() < (7, 82),
    reason="the examples need curl 7.82 or newer (--json), as the guide says",
)
def test_the_guide_runs_as_it_stands(tmp_path, gateway):
    status, said, wrong = ran(tmp_path, gateway("".join(script())))
    assert status == 0, said[-2000:] + wrong[-2000:]
    assert (tmp_path / "calls.csv").read_text().startswith("id,")
    assert "input 0.5 per 1000000 = " in said, re.findall("input .*", said)
    assert '"adds_up":true' in said
    status, said, _ = ran(
        tmp_path, gateway(BLOCKS[0][1] + "ask $GATEWAY/admin/accounts --json '{\"nme\": 1}'\n")
    )
    assert status != 0
    assert '"param":"' in said
