"""The walls between packages: files know no models, models no files, neither knows flows."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED = {
    "features": {"torch", "sklearn", "prefect", "models", "flows"},
    "models": {"prefect", "polars", "features", "flows"},
}
MODULES = [path for package in BANNED for path in sorted((ROOT / package).rglob("*.py"))]


def imported(source: str) -> set[str]:
    """Return the top-level packages that a module names in any import, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            found.add(str(node.module).split(".")[0])
    return found


def test_the_walk_sees_imports_wherever_they_stand() -> None:
    source = "import a.b\nfrom c.d import e\ndef f():\n    import g as h\n    from i import j\n"
    assert imported(source) == {"a", "c", "g", "i"}


def test_both_packages_have_modules_to_check() -> None:
    assert {path.parent.name for path in MODULES} == set(BANNED)
    assert len(MODULES) > 20


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_import_crosses_a_wall(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    crossing = imported(path.read_text(encoding="utf-8")) & BANNED[package]
    assert not crossing, f"{path.relative_to(ROOT)} imports {sorted(crossing)}"


@pytest.mark.parametrize("package", sorted(BANNED))
def test_importing_a_package_loads_nothing_from_behind_its_wall(package: str) -> None:
    # Every module in a fresh interpreter, one after the other; what is loaded shows who loaded it.
    names = [path.stem for path in MODULES if path.parent.name == package]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        f"    importlib.import_module('{package}' if name == '__init__' else '{package}.' + name)\n"
        f"    loaded = sorted({BANNED[package]!r} & set(sys.modules))\n"
        f"    assert not loaded, f'{package}.{{name}} loads {{loaded}}'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
