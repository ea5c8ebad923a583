"""Saved pages in a browser: each picture renders without a word of complaint on the console."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orbresearch.analysis import pictures

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: What may stand on the console: bokeh's own progress, and what headless graphics say of themselves.
HARMLESS = re.compile(
    r"\[bokeh [\d.]+\] (setting log level|document idle)|Automatic fallback to software WebGL|GL Driver Message"
)
PICTURES = {
    "quality": lambda one, rows: pictures.quality(rows.attrs["quality"]),
    "day": lambda one, rows: pictures.day(one, one.daily.index[0]),
    "equity": lambda one, rows: pictures.equity(one),
    "by_entry_time": lambda one, rows: pictures.by_entry_time(one),
    "by_weekday": lambda one, rows: pictures.by_weekday(one),
    "cost_curve": lambda one, rows: pictures.cost_curve(one),
    "heatmap": lambda one, rows: pictures.heatmap(rows, "stop_distance", "limit_distance"),
    "scales": lambda one, rows: pictures.heatmap(scattered(rows), "stop_distance", "limit_distance"),
    "explore": lambda one, rows: pictures.explore(rows, lambda _: one),
    "distribution": lambda one, rows: pictures.distribution(rows["sharpe_ratio"], 2.0, np.linspace(1, 3, 99)),
}


def scattered(rows):
    """Return rows in which no two parameters are equal."""
    many = rows.loc[rows.index.repeat(5)].reset_index(drop=True)
    return many.assign(stop_distance=np.linspace(0.1, 2, len(many)), limit_distance=np.linspace(1, 5, len(many)))


def read(page: Path, profile: Path) -> tuple[str, list[str]]:
    """Open a page; return its document, and what was said on the console."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser to render pages in: none of {', '.join(BROWSERS)} is installed")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    flags += ["--virtual-time-budget=20000", "--enable-logging=stderr", "--v=0", "--window-size=1200,800"]
    done = subprocess.run([browser, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120)
    return done.stdout, re.findall(r'CONSOLE:\d+\] "(.*?)", source:', done.stderr, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_a_saved_page_renders_without_an_error(name, one, rows, sessions, tmp_path):
    rows = rows.copy()
    rows.attrs["quality"] = sessions.quality
    picture = PICTURES[name](one, rows)
    page = picture.save(tmp_path / "pages" / f"{name}.html")
    assert not re.search(r'<(script|link)[^>]+(src|href)="http', page.read_text())
    document, said = read(page, tmp_path / "profile")
    assert [word for word in said if not HARMLESS.search(word)] == []
    assert any("document idle" in word for word in said)
    assert picture.title.splitlines()[0] in document
    assert [path.name for path in page.parent.iterdir()] == [page.name]


def test_a_broken_page_would_be_noticed(tmp_path):
    page = tmp_path / "broken.html"
    page.write_text("<html><body><script>throw new Error('boom');</script></body></html>")
    _, said = read(page, tmp_path / "profile")
    assert [word for word in said if not HARMLESS.search(word)] == ["Uncaught Error: boom"]
