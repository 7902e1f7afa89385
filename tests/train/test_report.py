"""report.html: one file, no network, honest numbers, and it follows a run in a real browser."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ownlm.train.metrics import MetricsFile
from ownlm.train.report import COLUMNS, ReportPage, Thinned, write_report
from ownlm.train.run_facts import RunFacts

_spec = importlib.util.spec_from_file_location("browser", Path(__file__).parents[1] / "serve" / "browser.py")
assert _spec is not None and _spec.loader is not None
browser = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(browser)

NASTY = "</script><script>document.title = 'owned'</script> /*STYLE*/"
FORECAST = {
    "seconds": {"value": 50.0, "low": 45.0, "high": 60.0},
    "bits_per_byte": {"value": 1.4, "low": 1.2, "high": 1.6},
    "basis": "Time: 3 measured steps.",
}


def facts(out: Path, first_step: int = 0) -> RunFacts:
    return RunFacts(
        name="made <b>run</b>",
        out=out,
        steps=100,
        tokens_per_step=64,
        parameters=1_200_000,
        flops_per_token=7e6,
        recipe={"model": {"depth": 2}, "data": NASTY},
        first_step=first_step,
        forecast=FORECAST,
    )


def metrics(step: int) -> dict[str, Any]:
    found = {"step": step, "loss": 8 * math.exp(-step / 30), "lr": 0.01, "grad_norm": 1.0, "tokens": 64 * step}
    found |= {"seconds": 0.5, "tokens_per_second": 128.0, "mfu": 0.4}
    if step % 10 == 0:
        found |= {"valid_loss": 3.0, "valid_bits_per_byte": 1.5, "sample": NASTY}
    return found


def data_of(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_a_page_holds_the_run(tmp_path: Path) -> None:
    page = ReportPage(0, 0)
    page.on_start(facts(tmp_path))
    for step in range(1, 41):
        page.on_step(metrics(step))
    page.on_end({"steps": 40, "seconds": 20.0, "stopped": "Ctrl-C"})
    data = data_of(page.path)
    assert set(data["columns"]) == set(COLUMNS)
    assert data["columns"]["step"] == list(range(1, 41))
    assert data["columns"]["elapsed"][-1] == 20.0
    assert data["valid"]["step"] == [10, 20, 30, 40] and data["valid"]["bits_per_byte"] == [1.5] * 4
    assert data["recipe"] == [["model.depth", 2], ["data", NASTY]]
    assert data["sample"] == {"step": 40, "text": NASTY}
    assert data["end"]["stopped"] == "Ctrl-C"


def test_a_page_asks_nothing_of_a_network(tmp_path: Path) -> None:
    page = ReportPage()
    page.on_start(facts(tmp_path))
    text = page.path.read_text(encoding="utf-8")
    assert not re.findall(
        r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w.-]+\.\w+/", re.sub(r"^\s*//.*$", "", text, flags=re.M)
    )
    assert not re.findall(r"<link[^>]+stylesheet|<script[^>]+src=|@import|url\(|fetch\(|XMLHttpRequest", text)


def test_points_are_means_and_none_is_lost() -> None:
    points = Thinned(("loss", "step"), limit=8)
    for step in range(1, 102):
        points.add({"step": step, "loss": float("nan") if step == 50 else float(step)})
    found = points.columns()
    assert points.every == 16 and len(found["loss"]) == 7
    whole = [sum(range(1, 17)) / 16, sum(range(17, 33)) / 16]
    assert found["step"][:2] == whole and found["loss"][:2] == whole
    assert found["loss"][-1] == pytest.approx(sum(range(97, 102)) / 5)  # the last point is not full yet
    assert found["loss"][3] == pytest.approx((sum(range(49, 65)) - 50) / 15, rel=1e-5)  # no number, no part in a mean


def test_a_page_written_afterwards_is_the_page_of_the_run(tmp_path: Path) -> None:
    hooks = [MetricsFile(), ReportPage()]
    for hook in hooks:
        hook.on_start(facts(tmp_path))
    for step in range(1, 31):
        for hook in hooks:
            hook.on_step(metrics(step))
    for hook in hooks:
        hook.on_end({"steps": 30, "seconds": 15.0, "stopped": None})
    during = data_of(tmp_path / "report.html")
    after = data_of(write_report(tmp_path))
    during.pop("written"), after.pop("written")
    assert after == during


def test_a_resumed_run_shows_what_was_before(tmp_path: Path) -> None:
    log = MetricsFile()
    log.on_start(facts(tmp_path))
    for step in range(1, 21):
        log.on_step(metrics(step))
    page = ReportPage(0, 0)
    page.on_start(facts(tmp_path, first_step=15))  # killed at 20, the last checkpoint was at 15
    page.on_step(metrics(16))
    data = data_of(page.path)
    assert data["columns"]["step"] == list(range(1, 17)) and data["last_step"] == 16


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as driver:
        yield driver


@browser.needs_chromium
def test_a_browser_draws_it_and_follows_the_run(tmp_path: Path, chromium: Any) -> None:
    page = ReportPage(0, 0)
    page.on_start(facts(tmp_path))
    for step in range(1, 21):
        page.on_step(metrics(step))
    seen = chromium.new_page()
    faults: list[str] = []
    asked: list[str] = []
    seen.on("pageerror", lambda error: faults.append(str(error)))
    seen.on("request", lambda request: asked.append(request.url))
    seen.clock.install()
    seen.goto(page.path.as_uri())
    assert seen.inner_text("#state") == "running"
    assert seen.inner_text("#name") == "made <b>run</b>"
    assert seen.inner_text("#figures div:first-child dd") == "20of 100"
    assert NASTY in seen.inner_text("#recipe") and seen.inner_text("#sample") == NASTY
    assert seen.title() == "made <b>run</b>: 20 %"
    for chart in ("loss", "bits", "lr", "tokens_per_second", "mfu", "grad_norm"):
        assert seen.locator(f"#{chart} svg path").count() >= 1, chart
    seen.hover("#loss svg")
    assert seen.inner_text("#tip").startswith("step 1")

    for step in range(21, 101):
        page.on_step(metrics(step))
    page.on_end(
        {"steps": 100, "seconds": 52.0, "stopped": None, "forecast": {"seconds": {"actual": 52.0, "off": 0.04}}}
    )
    seen.clock.fast_forward(6000)
    browser.eventually(lambda: seen.inner_text("#state") == "finished")  # no reload: the open page took the new data
    assert seen.inner_text("#figures div:first-child dd") == "100of 100"
    assert "+4.0 %" in seen.inner_text("#forecast")
    assert not faults and all(url.startswith(("file:", "data:")) for url in asked), (faults, asked)


@browser.needs_chromium
def test_an_empty_run_and_one_that_diverged_are_drawn(tmp_path: Path, chromium: Any) -> None:
    page = ReportPage(0, 0)
    page.on_start(facts(tmp_path))
    seen = chromium.new_page()
    faults: list[str] = []
    seen.on("pageerror", lambda error: faults.append(str(error)))
    seen.goto(page.path.as_uri())
    assert seen.locator("#loss svg").count() == 0
    page.on_step({"step": 1, "loss": float("nan"), "grad_norm": float("inf"), "lr": 0.1, "tokens": 64, "seconds": 0.5})
    page.on_end({"steps": 1, "seconds": 1.0, "stopped": "the loss is not finite: lower the learning rate"})
    seen.reload()
    assert seen.inner_text("#state") == "stopped"
    assert "lower the learning rate" in seen.inner_text("#stopped")
    assert not faults


@browser.needs_chromium
@pytest.mark.parametrize("width", [360, 1000, 1200])
def test_what_was_foretold_stays_within_its_card(tmp_path: Path, chromium: Any, width: int) -> None:
    """With figures as long as a real run's."""
    told = {
        "seconds": {"value": 16_332.3, "low": 15_518.7, "high": 17_154.9},
        "memory": {"value": 342_691_840.0, "low": None, "high": None},
        "bits_per_byte": {"value": 1.7636, "low": 1.3177, "high": 2.4525},
    }
    came = {
        "seconds": {"actual": 15_745.8, "off": -0.0608},
        "memory": {"actual": 2_137_272_320, "off": 5.2367},
        "bits_per_byte": {"actual": 1.4151, "off": -0.1976},
    }
    page = ReportPage(0, 0)
    page.on_start(replace(facts(tmp_path), forecast={**told, "basis": "Time: 2 measured steps."}))
    page.on_step(metrics(10))
    page.on_end({"steps": 10, "seconds": 15_745.8, "stopped": None, "forecast": came})
    seen = chromium.new_page(viewport={"width": width, "height": 900})
    seen.goto(page.path.as_uri())
    assert "+523.7 %" in seen.inner_text("#forecast")
    assert seen.evaluate("document.documentElement.scrollWidth") <= width
