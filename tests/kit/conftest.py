"""Fresh environments to install outside packages into."""

import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Installs a package into an environment of its own that sees what this one has installed; gives its python."""

    def install(package: Path) -> Path:
        folder = tmp_path_factory.mktemp("fresh")
        venv.create(folder, with_pip=True)
        python = folder / "bin" / "python"
        here = sysconfig.get_path("purelib")
        site = folder / "lib" / Path(here).parts[-2] / "site-packages"
        line = f"import site, sys; sys.path.insert(0, {here!r}); site.addsitedir({here!r})\n"
        (site / "beside.pth").write_text(line)
        command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", package]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return python

    return install
