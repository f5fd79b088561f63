"""The wheel, unpacked in an empty place, is the whole product."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from tests.support.gateway_process import WAIT_S

ROOT = Path(__file__).parents[2]


def test_the_wheel_works_in_an_empty_directory(tmp_path):
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            tmp_path / "dist",
            ROOT,
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("gatewayz-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "gatewayz/providers/providers.toml",
        "gatewayz/providers/errors.toml",
        "gatewayz/simulator/exchanges/openai_chat/template_body.json",
    ):
        assert needed in names
    assert any(name.endswith("entry_points.txt") for name in names)
    assert not any(
        "test" in name or "bench" in name for name in names if not name.startswith("gatewayz/")
    )
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    # -S keeps the editable checkout away: what runs is the wheel, with the packages that it asks for.
    path = os.pathsep.join([str(tmp_path / "site"), sysconfig.get_paths()["purelib"]])
    code = "import gatewayz, runpy, sys; assert 'site' in gatewayz.__file__, gatewayz.__file__; sys.argv = ['gatewayz', 'demo']; runpy.run_module('gatewayz', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=empty,
        env={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one answer and no error" in done.stdout


def test_make_install_puts_the_command_on_the_path(tmp_path):
    # As after `make run`: what it needs is there.
    words = ["make", "-o", ".venv/.runtime", "install", f"PREFIX={tmp_path}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    assert f'export PATH="{tmp_path}/bin:$PATH"' in done.stdout
    assert (tmp_path / "bin" / "gatewayz").is_symlink()
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "PATH=/opt/gatewayz/bin:$PATH" in image
    assert 'ENTRYPOINT ["gatewayz"]' in image
