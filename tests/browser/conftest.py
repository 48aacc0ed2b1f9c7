"""A headless Chromium, driven by selenium."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
     if (found := shutil.which(name))),
    None,
)  # fmt: skip
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The driver of one browser for all tests."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no Chromium with its driver (Debian: chromium, chromium-driver)")
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: pip install 'graphir[test]'"
    )
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1800,1000",
                 "--disable-dev-shm-usage", "--hide-scrollbars"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a training, of compiled functions, and of one that does not trace."""
    import models_to_see as models

    import graphir
    from graphir.errors import GraphirError
    from graphir.runtime.page.document import write_failure

    folder = tmp_path_factory.mktemp("pages")
    made = {}
    optimizer = graphir.optim.SGD(lr=0.05)
    for name, loss, params in (
        ("linear", models.linear, models.linear_params()),
        ("mlp", models.mlp, models.mlp_params()),
    ):
        result = graphir.train(
            loss, params, models.data(2000), optimizer=optimizer, batch_size=256, epochs=4,
            validation=models.data(300), progress=False,
        )  # fmt: skip
        made[name] = result.explain().to_html(folder / f"{name}.html")
    for name, loss, params in (
        ("huber", models.huber, models.linear_params()),
        ("deep", models.deep, models.deep_params(layers=6)),
    ):
        compiled = graphir.compile(graphir.value_and_grad(loss))
        made[name] = compiled.explain(params, *models.data()).to_html(folder / f"{name}.html")
    try:
        graphir.trace(models.refused, models.linear_params(), *models.data())
    except GraphirError as error:
        made["refused"] = write_failure(error, "refused", folder / "refused.html")
    assert "graphir" in sys.modules
    return made
