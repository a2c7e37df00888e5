"""User code, checked with mypy --strict and without a plugin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"MYPYPATH": str(HERE.parents[1] / "src")}


@pytest.mark.parametrize("name", ["accepted", "refused"])
def test_the_type_checker_knows_the_contract(name: str, tmp_path: Path) -> None:
    """Correct code passes; each mistake is an error, and so is an ignore without a mistake."""
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", "--python-executable", sys.executable]
    command = [sys.executable, "-m", "mypy", *options, f"{name}.py"]
    result = subprocess.run(
        command, cwd=HERE, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
