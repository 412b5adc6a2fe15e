"""Run every command of a document again and write down what it printed.

In the document, a fenced block marked `console` holds commands (`$ …`) and their output. Each block
runs in one bash, from the root of the repository; the first command that fails ends the run, and
the document stays as it was.

    python docs/refresh.py docs/walkthrough.md
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from tessera.local.guard import Guard

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WIDTH = "100"


def run(command: str) -> str:
    """What a command prints, both streams together.

    Raises:
        RuntimeError: it failed.
    """
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    home = os.environ.get("TESSERA_HOME", str(ROOT / ".demo"))
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "COLUMNS": WIDTH, "TESSERA_HOME": home},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {command}\n{done.stdout}")
    return done.stdout.replace(f"{ROOT}/", "").replace(str(Path.home()), "~")


def refresh(match: re.Match[str]) -> str:
    """The block with fresh output."""
    parts = []
    for line in match[1].splitlines():
        if not line.startswith("$ "):
            continue
        sys.stderr.write(f"{line}\n")
        output = "\n".join(text.rstrip() for text in run(line[2:]).splitlines())
        parts.append(f"{line}\n{output}" if output else line)
    body = "\n".join(parts)
    return f"```console\n{body}\n```"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("document", type=Path)
    document: Path = parser.parse_args().document
    guard = Guard.start()
    try:
        text = BLOCK.sub(refresh, document.read_text())
    except RuntimeError as error:
        sys.exit(str(error))
    finally:
        guard.release()
    document.write_text(text)


if __name__ == "__main__":
    main()
