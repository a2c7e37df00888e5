"""The imports of the middlewares."""

import json
import subprocess
import sys


def test_no_framework_is_loaded() -> None:
    """pgaudit.middleware loads no framework: ASGI and WSGI are protocols, and Django loads its own middleware."""
    code = "import json, sys, pgaudit.middleware; print(json.dumps(list(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    roots = {name.partition(".")[0] for name in json.loads(loaded)}
    assert roots & {"asgiref", "django", "flask", "starlette", "werkzeug"} == set()
