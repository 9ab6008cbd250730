"""Environments of their own for the packages that `bench_models.py` compares with."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "merlion": (("salesforce-merlion==2.0.4",),),
    # What numalogic declares can't be had together with torch 2.13: one of its dependencies wants
    # setuptools under 71, torch at least 77. Its autoencoders need no more than this.
    "numalogic": (
        ("pytorch-lightning>=2,<3", "scikit-learn>=1.3,<2"),
        ("--no-deps", "numalogic==0.13.2"),
    ),
    "sequitur": (("sequitur==1.2.4",),),
}
"""What pip is asked for, command by command; torch and numpy are in the first."""

MARKER = ".installed"


class InstallError(Exception):
    """A peer could not be installed."""


def interpreter(peer: str, folder: Path) -> Path:
    """Return the Python that has a peer, installing it into `folder` where it isn't there yet.

    Raises
    ------
    InstallError
        With the peer's name and pip's reason.
    """
    # In one command with the exact torch, lest pip exchange it for another build.
    torch = f"torch=={version('torch').partition('+')[0]}"
    first, *others = PEERS[peer]
    commands = [(torch, "numpy<2", *first), *others]
    venv = folder / peer
    python, marker = venv / "bin" / "python", venv / MARKER
    wanted = "\n".join([sys.version, *(" ".join(command) for command in commands)])
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        print(f"installing {peer} into {venv}", file=sys.stderr)
        try:
            _call(sys.executable, "-m", "venv", "--clear", str(venv))
            for command in commands:
                _call(str(python), "-m", "pip", "install", "--quiet", *command)
        except subprocess.CalledProcessError as error:
            raise InstallError(f"{peer}: {_reason(error.stderr)}") from error
        marker.write_text(wanted, encoding="utf-8")
    return python


def _call(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)


def _reason(words: str) -> str:
    """Return pip's first error that says what is wrong, or its last line."""
    lines = words.strip().splitlines() or ["no reason given"]
    errors = [line for line in lines if line.startswith("ERROR: ") and ": Ignored " not in line]
    return errors[0] if errors else lines[-1]
