"""What the middlewares load."""

import json
import subprocess
import sys


def test_no_framework_is_loaded() -> None:
    """ASGI and WSGI are plain protocols; Django's middleware is loaded by Django."""
    code = "import json, sys, pgaudit.middleware; print(json.dumps(list(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    roots = {name.partition(".")[0] for name in json.loads(loaded)}
    assert roots & {"asgiref", "django", "flask", "starlette", "werkzeug"} == set()
