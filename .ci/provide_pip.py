"""Put what ansible-test downloads to begin a virtual environment, a get-pip script, where it looks for it first.

The script made here installs the very pip that ansible-test asks for, from the package index that pip is set up with; so the
sanity tests run on machines that reach a package index and nothing else.

Usage: PYTHON_WITH_ANSIBLE_CORE provide_pip.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages

SCRIPT = """\
# Made by provide_pip.py of infrafabric.chromadb: installs pip from the wheel beside it.
import runpy
import sys

wheel = {wheel!r}
options = [argument for argument in sys.argv[1:] if argument.startswith("--") and argument not in ("--no-setuptools", "--no-wheel")]
sys.path.insert(0, wheel)
sys.argv[1:] = ["install", "--no-index", "--no-deps", *options, wheel]
runpy.run_module("pip", run_name="__main__")
"""


def main() -> None:
    python = SimpleNamespace(version=".".join(map(str, sys.version_info[:2])))
    version = get_venv_packages(python)["pip"]
    cache = Path.home() / ".ansible" / "test" / "cache"
    script = cache / f"get_pip_{version.replace('.', '_')}.py"
    if script.exists():
        return
    cache.mkdir(parents=True, exist_ok=True)
    download = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*download, "--dest", str(cache), f"pip=={version}"], check=True)
    script.write_text(SCRIPT.format(wheel=str(cache / f"pip-{version}-py3-none-any.whl")), encoding="utf-8")


if __name__ == "__main__":
    main()
