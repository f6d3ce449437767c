"""The page on adding a model: its example is copied out and held to the contract."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-model.md"


def test_the_example_passes_the_contract_suite(tmp_path):
    package = tmp_path / "drift"
    package.mkdir()
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["spec.py", "model.py"]
    for name, code in blocks:
        (package / name).write_text(code)
    (package / "__init__.py").touch()
    command = [sys.executable, "-m", "pytest", "tests/contract", "--spec", "drift.spec:SPEC", "-q"]
    command += ["-p", "no:cacheprovider", "-k", "not its_page", "-o", f"pythonpath={tmp_path} ."]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert re.search(r"[3-9]\d passed", run.stdout), run.stdout
