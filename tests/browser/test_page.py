"""The page in a browser: what lights up, tabs, search, keyboard, light and dark, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


class Page:
    """A page that is open."""

    def __init__(self, browser: Any, path: Path) -> None:
        from selenium.webdriver.common.by import By

        self.browser, self.by = browser, By.CSS_SELECTOR
        browser.get(path.as_uri())
        assert not self.errors()

    def errors(self) -> list[Any]:
        """What the console complained of."""
        return [e for e in self.browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]

    def all(self, css: str) -> list[Any]:
        """The visible elements."""
        return [e for e in self.browser.find_elements(self.by, css) if e.is_displayed()]

    def one(self, css: str) -> Any:
        """The first visible element."""
        return self.all(css)[0]

    def run(self, script: str, *args: Any) -> Any:
        """What a script returns."""
        return self.browser.execute_script(script, *args)

    def click(self, element: Any) -> None:
        """A click as the page sees it."""
        self.run("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", element)

    def keys(self, *keys: str) -> None:
        """Keys to what has the focus."""
        self.browser.switch_to.active_element.send_keys(*keys)

    def tab(self, name: str) -> None:
        """Open a tab by its title."""
        self.click(next(t for t in self.all("[role=tab]") if t.text == name))

    def source_line(self, text: str) -> Any:
        """The row of the source that holds the text."""
        return next(r for r in self.all("#source .row[data-line]") if text in r.text)

    def box(self, title: str, role: str) -> Any:
        """The box of an op."""
        return next(
            g for g in self.all(f"g.box.{role}")
            if title in [t.text for t in g.find_elements(self.by, "text")]
        )  # fmt: skip

    def titles(self, css: str) -> list[str]:
        """The ops of the boxes that match."""
        return sorted(g.find_elements(self.by, "text")[0].text for g in self.all(css))


@pytest.fixture
def huber(browser: Any, pages: dict[str, Path]) -> Page:
    return Page(browser, pages["huber"])


@pytest.fixture
def linear(browser: Any, pages: dict[str, Path]) -> Page:
    return Page(browser, pages["linear"])


def test_a_source_line_lights_its_nodes_gradients_and_kernel_lines(huber: Page) -> None:
    huber.tab("Scheduled")
    huber.click(huber.source_line("small = r.abs() < 1.0"))
    assert huber.titles("g.box.lit") == ["abs", "broadcast", "lt"]
    # |r| is read by the other line too; its gradient is a sign.
    assert {"sign", "mul"} <= set(huber.titles("g.box.grad"))
    lit = [r.text for r in huber.all("#kernel-rows .row.lit")]
    assert any("fabs" in r for r in lit)
    assert all("= x_ptr" not in r for r in lit)
    huber.tab("Triton")
    assert any("tl.abs" in r.text for r in huber.all("#kernel-rows .row.lit"))


def test_a_kernel_line_lights_its_box_and_source_line(huber: Page) -> None:
    huber.tab("Scheduled")
    huber.tab("Triton")
    row = next(r for r in huber.all("#kernel-rows .row[data-node]") if "tl.abs" in r.text)
    huber.click(row)
    assert huber.titles("g.box.lit") == ["abs"]
    lines = [r.text for r in huber.all("#source .row.lit, #source .row.grad")]
    assert any("small = r.abs() < 1.0" in text for text in lines)


def test_a_box_lights_its_source_and_kernel_lines(huber: Page) -> None:
    huber.tab("Scheduled")
    huber.tab("Triton")
    huber.click(huber.box("sign", "backward"))
    assert huber.titles("g.box.grad") == ["sign"]
    assert not huber.all("g.box.lit")
    assert any("r.abs()" in r.text for r in huber.all("#source .row.grad"))
    assert huber.all("#kernel-rows .row.grad")
    assert "sign" in huber.one("#detail").text


@pytest.mark.parametrize("stage", ["Traced", "Differentiated", "Pruned", "Rewritten"])
def test_every_stage_links_to_the_kernel(huber: Page, stage: str) -> None:
    huber.tab(stage)
    huber.tab("Triton")
    huber.click(huber.box("where", "forward"))
    assert huber.all("#source .row.lit")
    assert any("tl.where" in r.text for r in huber.all("#kernel-rows .row.lit"))


def test_stages_show_what_they_say(huber: Page) -> None:
    huber.tab("Traced")
    assert not huber.all("g.box.backward")
    assert huber.all("g.box.forward")
    huber.tab("Differentiated")
    assert huber.all("g.box.backward")
    assert not huber.all("g.box.pruned")
    huber.tab("Pruned")
    assert any("the comparison has no derivative" in g.text for g in huber.all("g.box.pruned"))
    huber.tab("Scheduled")
    assert huber.all("g.kernel")


def test_cost_training_and_memory(linear: Page) -> None:
    linear.tab("Cost")
    table = linear.one("#panel-kernels table").text
    assert "linear_step_0" in table
    assert "FLOP" in table
    linear.tab("Training")
    assert linear.one("svg.curve")
    assert linear.all(".key.valid")
    linear.tab("Memory")
    assert "updated in place" in linear.one("#panel-memory").text
    assert "one batch of rows a step" in linear.one("#panel-memory").text


def test_search_by_name(huber: Page) -> None:
    huber.tab("Pruned")
    huber.one("#search").send_keys("params[0]")
    assert "found" in huber.one("#found").text
    assert "params[0]" in huber.titles("g.box.lit")
    huber.one("#search").clear()
    huber.one("#search").send_keys("no such thing")
    assert huber.one("#found").text == "nothing found"
    assert not huber.all("g.box.lit")


def test_keyboard_alone(huber: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    huber.run("document.querySelector('#stages [aria-selected=true]').focus()")
    huber.keys(Keys.END)
    assert huber.one("#panel-memory").is_displayed()
    huber.keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert huber.one("#stages [aria-selected=true]").text == "Scheduled"
    huber.run("document.querySelector('#source .row[tabindex=\"0\"]').focus()")
    huber.keys(Keys.ARROW_DOWN)
    huber.keys(Keys.ENTER)
    line = huber.browser.switch_to.active_element
    assert "lit" in line.get_attribute("class").split()
    assert huber.all("g.box.lit")
    huber.keys(Keys.ESCAPE)
    assert not huber.all(".lit, .grad")
    huber.keys("/")
    assert huber.browser.switch_to.active_element.get_attribute("id") == "search"
    huber.keys("where", Keys.ENTER)
    assert huber.one("#found").text.startswith("1 of ")
    assert len(huber.all("g.box.lit, g.box.grad")) >= 1


def test_folded_boxes_open(browser: Any, pages: dict[str, Path]) -> None:
    page = Page(browser, pages["deep"])
    page.tab("Rewritten")
    folded = page.all("g.box.folded.forward")
    assert folded
    assert len(page.all("g.box")) < 20
    before = folded[0].get_attribute("data-members").split()
    page.run("arguments[0].dispatchEvent(new MouseEvent('dblclick', {bubbles: true}))", folded[0])
    assert not page.all("g.box.folded")
    lit = {g.get_attribute("data-members") for g in page.all("g.box.lit")}
    assert set(before) & lit


def test_light_and_dark(huber: Page) -> None:
    def paper() -> str:
        return str(huber.run("return getComputedStyle(document.body).backgroundColor"))

    first = paper()
    huber.click(huber.one("#theme"))
    second = paper()
    assert {first, second} == {"rgb(255, 255, 255)", "rgb(20, 23, 26)"}


def test_it_asks_for_nothing_else(huber: Page) -> None:
    asked = huber.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked == []
    assert not huber.errors()


def test_a_function_that_does_not_trace(browser: Any, pages: dict[str, Path]) -> None:
    page = Page(browser, pages["refused"])
    assert "TraceError" in page.one(".failure").text
    assert "if r.sum() > 0:" in page.one(".row.failing").text
    assert {"contract", "sub", "sum"} <= set(page.titles("g.box.forward"))


def test_ids_are_unique(huber: Page) -> None:
    doubled = huber.run(
        "const ids = [...document.querySelectorAll('[id]')].map(e => e.id);"
        "return ids.filter((x, i) => ids.indexOf(x) !== i)"
    )
    assert doubled == []
