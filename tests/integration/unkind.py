"""A shell that is unkind: proxies that lead nowhere, modules in the way, no UTF-8, no umask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

NOWHERE = "http://127.0.0.1:9"
HOME = Path("a home [b]é?x#y%20") / ("long-" * 20)
"""Below it is the platform's: spaces, letters beyond A to Z, what URLs and markup take for theirs.
"""
SECRET = "planted-variable-0123456789"
"""What the shell knows and a job may name: nobody else should ever tell it."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "ftp_proxy")
_SHADOWS = ("grpc", "queue", "emoji", "ray", "yaml", "typing", "torch", "tessera", "structlog")


def trapped(folder: Path) -> str:
    """Names of the modules in the way that were imported nevertheless."""
    found = folder / "trapped"
    return found.read_text() if found.exists() else ""


def unkind(folder: Path) -> dict[str, Any]:
    """Such a shell, as `subprocess.run` takes it; its working directory is one of the folder's."""
    project = folder / "projekt é [red]"
    project.mkdir()
    for name in _SHADOWS:
        trap = f"open({str(folder / 'trapped')!r}, 'a').write('{name} ')\n"
        (project / f"{name}.py").write_text(f"{trap}raise SystemExit('{name} is a trap')\n")
    env = {name: value for name, value in os.environ.items() if name not in {"LANG", "LC_CTYPE"}}
    for name in _PROXIES:
        env[name] = env[name.upper()] = NOWHERE
    env |= {"PROJECT": str(project), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env |= {"PYTHONIOENCODING": "ascii", "PYTHONOPTIMIZE": "0"}
    env |= {"TESSERA_SECRET_DEFAULT__PLANTED": SECRET}
    return {"env": env, "cwd": project, "umask": 0o000, "encoding": "utf-8"}
