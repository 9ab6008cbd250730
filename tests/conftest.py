"""Fixtures that several test modules share: Prefect, small samples and one whole run."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.icews_files import WholeRun

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Machines differ in speed, so no test has a deadline; CI draws the same examples each time.
settings.register_profile("foreshock", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("foreshock")


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give flows a server of their own, and a database that is gone afterwards."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_RESULTS_LOCAL_STORAGE_PATH", str(home / "results"))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("PREFECT_LOGGING_TO_API_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture(scope="session")
def whole(prefect: None, tmp_path_factory: pytest.TempPathFactory) -> "WholeRun":
    """Run everything on the bundled sample, as ``make run`` does."""
    from flows.config import RunConfig
    from flows.pipeline import run
    from tests.icews_files import SAMPLE, WholeRun

    data = tmp_path_factory.mktemp("whole") / "data"
    config = RunConfig.load(None, {"source": [SAMPLE], "data": data})
    return WholeRun(config=config, result=run(config))


@pytest.fixture(scope="session")
def small(prefect: None, tmp_path_factory: pytest.TempPathFactory) -> "WholeRun":
    """Run everything on a small sample with a small model."""
    from flows.pipeline import run
    from tests.icews_files import WholeRun, small_config, write_small_sample

    folder = tmp_path_factory.mktemp("small")
    write_small_sample(folder / "raw")
    config = small_config(folder / "raw", folder / "data")
    return WholeRun(config=config, result=run(config))
