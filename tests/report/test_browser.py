"""The report in a real browser: nothing broken, nothing asked for, no sideways scroll on a phone, legible to all.

Skipped where there is no Chromium. axe-core, which looks for accessibility faults, is taken from the file that AXE_CORE
names. .ci/run provides both.
"""
import os
from pathlib import Path

import pytest
from browser import Browser, find_browser
from made_up import HOSTILE, make_run_folder

from stablesdg.report.html import write_report

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = make_run_folder(tmp_path_factory.mktemp("report"), classes=("pits", HOSTILE, "Größe äöü", "w" * 200))
    return write_report(folder).as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_whole_at_any_width_in_light_and_dark(browser, address, width, scheme):
    browser.open(address, width, scheme)
    assert browser.complaints() == [] and browser.requests() == [address]
    assert browser.ask("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
    assert browser.ask("document.images.length") > 30
    assert browser.ask("document.documentElement.scrollWidth") <= width
    page = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (page == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser, address, scheme):
    browser.open(address, 360, scheme)
    browser.ask(Path(os.environ["AXE_CORE"]).read_text(encoding="utf-8") + "; 0")
    found = browser.ask("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].target.join(' ')]))")
    assert [fault for fault in found if fault[0] in SERIOUS] == []
