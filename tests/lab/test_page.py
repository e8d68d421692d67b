"""The page in a real browser: every interaction, on the shipped model, rows, an agent and made-up scenes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

import networks
import tiny_chat
from lab_serving import Served, serving
from painted import Painted, scene
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.lab.export import export
from takeback.lab.lab import Lab
from takeback.lab.server import page_files
from takeback.lab.views import view_of_pair

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
PATIENCE = 300_000
"""Milliseconds that a page may take for something, on a busy machine."""

HOST = """
import widget from "./widget.js";
const socket = new WebSocket(`ws://${location.host}/ws`);
const model = {
  send: (message) => socket.send(JSON.stringify(message)),
  on: (_, heard) => socket.addEventListener("message", (event) => heard(JSON.parse(event.data))),
  off: () => {},
};
socket.onopen = () => widget.render({ model, el: document.getElementById("cell") });
"""
"""A notebook's part, with a socket in the place of its kernel."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as one:
        found = one.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Served]]:
    yield from serving()


Open = Callable[..., "Page"]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Open pages; whatever one says of an error, or asks of another host, fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE)
    wrong: list[str] = []

    def page(address: str, ready: str = ".answer table", quiet: bool = True) -> Page:
        one = context.new_page()
        one.on("pageerror", lambda error: wrong.append(str(error)))
        one.on("console", lambda told: wrong.append(told.text) if quiet and told.type == "error" else None)
        own = urlsplit(address).netloc
        one.on("request", lambda asked: wrong.append(asked.url) if not _own(asked.url, own) else None)
        one.goto(address)
        one.wait_for_selector(ready)
        return one

    yield page
    context.close()
    assert not wrong


def _own(url: str, host: str) -> bool:
    return url.startswith("data:") or urlsplit(url).netloc == host


@pytest.fixture(scope="module")
def few(players: tuple[Path, Path]) -> Lab:
    """A lab of the players in few positions."""
    return Lab([view_of_pair(open_pair(*map(str, players)), arena("endgames"), (6, 0))])


@pytest.fixture(scope="module")
def players_page(start: Callable[..., Served], few: Lab) -> str:
    return start(few).origin


def told(page: Page) -> dict[str, str]:
    """Return what the address says."""
    return {name: each[0] for name, each in parse_qs(urlsplit(page.url).fragment).items()}


def selected(page: Page) -> set[str]:
    every = page.locator("[role=gridcell][aria-selected=true]")
    return set(every.evaluate_all("all => all.map(one => one.dataset.name)"))


def cell(page: Page, name: str) -> Locator:
    return page.locator(f'[data-name="{name}"]')


def press(page: Page, name: str, *modifiers: Any) -> None:
    cell(page, name).locator("rect").click(modifiers=list(modifiers))


def exact(page: Page) -> None:
    """Wait until all effects of the selection are exact."""
    page.wait_for_selector(".measures .note:text-matches('exact on (\\\\d+) \\\\w+s')")


def slide(slider: Locator, *values: float) -> None:
    """Move a slider over values, faster than anything answers."""
    moved = "one.value = value; one.dispatchEvent(new Event('input', {bubbles: true}))"
    slider.evaluate(f"(one, values) => {{ for (const value of values) {{ {moved} }} }}", list(values))


def until(page: Page, holds: str, argument: Any = None) -> None:
    page.wait_for_function(holds, arg=argument)


def test_a_click_takes_back_and_everything_follows(players_page: str, opened: Open) -> None:
    page = opened(f"{players_page}/")
    assert page.locator(".measures").inner_text().count("Nothing is selected")
    before = page.locator(".answer table").inner_text()
    press(page, "L0.H1")
    until(page, "text => document.querySelector('.answer table').innerText !== text", before)
    assert told(page)["set"] == "L0.H1"
    assert selected(page) == {"L0.H1"}
    exact(page)
    assert page.locator(".measures tbody tr").count() >= 5
    assert page.locator(".measures circle.exact").count() >= 5
    random = page.locator(".random button")
    random.nth(4).wait_for(timeout=2 * PATIENCE)
    assert re.search(r"\d of 5", page.locator(".measures tbody").inner_text())
    assert random.count() == 5
    first = random.first.get_attribute("title")
    random.first.click()
    until(page, "() => !location.hash.includes('L0.H1&')")
    assert first is not None
    assert told(page)["set"] in first
    press(page, "L0.H1")
    press(page, "L2.MLP", "Shift")
    assert selected(page) == {"L0.H1", "L2.MLP"}
    press(page, "L0.H1", "Shift")
    assert selected(page) == {"L2.MLP"}


def test_rows_columns_and_rectangles(players_page: str, opened: Open) -> None:
    page = opened(f"{players_page}/")
    page.get_by_role("rowheader", name="all of L2").click(force=True)
    assert selected(page) == {f"L2.{one}" for one in ("H0", "H1", "H2", "H3", "MLP", "LN1", "LN2")}
    assert told(page)["set"] == "L2.*"
    page.get_by_role("columnheader", name="MLP of all layers").click(modifiers=["Shift"], force=True)
    assert {"L0.MLP", "L3.MLP", "L2.H0"} <= selected(page)
    a, b = (cell(page, name).bounding_box() for name in ("L1.H1", "L2.H2"))
    assert a is not None
    assert b is not None
    page.mouse.move(a["x"] + 9, a["y"] + 9)
    page.mouse.down()
    page.mouse.move(b["x"] + 9, b["y"] + 9, steps=4)
    page.mouse.up()
    assert selected(page) == {"L1.H1", "L1.H2", "L2.H1", "L2.H2"}
    page.get_by_role("columnheader", name="everything").click(force=True)
    assert len(selected(page)) == 31
    assert told(page)["set"] == "*"


def test_the_keyboard_alone_does(players_page: str, opened: Open) -> None:
    page = opened(f"{players_page}/")
    keys = page.keyboard
    keys.press("m")
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        keys.press(key)
    assert selected(page) == {"L0.H1"}
    keys.press("ArrowDown")
    keys.press("Space")
    assert selected(page) == {"L0.H1", "L1.H1"}
    keys.press("Shift+ArrowRight")
    keys.press("Shift+ArrowDown")
    assert selected(page) == {"L1.H1", "L1.H2", "L2.H1", "L2.H2"}
    focus = page.evaluate("document.activeElement.getAttribute('aria-activedescendant')")
    assert page.locator(f"#{focus}").get_attribute("data-name") == "L2.H2"
    keys.press("Home")
    keys.press("Enter")
    assert told(page)["set"] == "L2.*"
    keys.press("Escape")
    assert not selected(page)
    keys.press("/")
    keys.type("*.MLP ~L0.*")
    keys.press("Enter")
    assert selected(page) == {"L1.MLP", "L2.MLP", "L3.MLP"}
    page.locator("#lab-set").blur()
    until(page, "() => location.hash.includes('at=')")
    place = told(page)["at"]
    keys.press("j")
    assert told(page)["at"] != place
    keys.press("k")
    assert told(page)["at"] == place
    keys.press("?")
    page.get_by_role("dialog").wait_for()


def test_a_set_that_is_none_is_refused_and_an_address_is_a_selection(players_page: str, opened: Open) -> None:
    page = opened(f"{players_page}/#set=L1.H*&name=mine&do=graft&at=3")
    exact(page)
    assert selected(page) == {f"L1.H{head}" for head in range(4)}
    assert page.locator(".called").inner_text() == "mine"
    assert page.get_by_role("radio", name="graft").get_attribute("aria-checked") == "true"
    assert "hybrid − base" in page.locator(".measures").inner_text()
    page.locator("#lab-set").fill("L9.H1")
    page.keyboard.press("Enter")
    assert "no component L9.H1" in page.get_by_role("alert").inner_text()
    assert len(selected(page)) == 4
    page.get_by_role("button", name="name it").click()
    page.get_by_label("name of the selection").fill("<b>heads</b>")
    page.keyboard.press("Enter")
    assert page.locator(".called").inner_text() == "<b>heads</b>"
    assert told(page)["name"] == "<b>heads</b>"
    page.get_by_label("sets with names").select_option("L0 heads")
    assert selected(page) == {f"L0.H{head}" for head in range(4)}


def test_strength_and_sources(players_page: str, opened: Open) -> None:
    page = opened(f"{players_page}/#set=L0.*&at=0")
    exact(page)
    before = page.locator(".answer table").inner_text()
    slider = page.get_by_label("strength", exact=True)
    slide(slider, 0.8, 0.6, 0.4, 0.2, 0)
    until(page, "() => /strength=0(&|$)/.test(location.hash)")
    until(page, "text => document.querySelector('.answer table').innerText !== text", before)
    of = "n => document.querySelectorAll('.answer .sides li')[n].innerText.replace(/^\\s*\\w+/, '')"
    until(page, f"() => ({of})(1) === ({of})(2)")
    page.get_by_label("source").select_option("noise")
    assert told(page)["from"] == "noise:0"
    page.get_by_label("seed").fill("3")
    until(page, "() => location.hash.includes('noise%3A3')")
    exact(page)


def test_situations_are_filtered_and_typed(players_page: str, opened: Open) -> None:
    page = opened(f"{players_page}/#set=L0.*")
    exact(page)
    options = page.locator("[data-place]")
    whole = options.count()
    far = [float(one.strip("<%–") or 0) for one in page.locator(".situations .far").all_inner_texts()]
    assert far == sorted(far, reverse=True)
    page.get_by_label("find a text").fill("Q")
    assert 0 < options.count() < whole
    page.get_by_label("find a text").fill("")
    page.get_by_label("flips").check()
    assert options.count() == options.filter(has=page.locator(".flip[title]")).count()
    page.get_by_label("flips").uncheck()
    page.get_by_label("type a position").fill("1k6/8/1K6/8/8/8/8/7R w - - 0 1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".situations .tag:text('typed')")
    until(page, "() => document.querySelector('.answer .title').innerText.includes('kb8')")
    assert page.locator(".board path").count() >= 4


def test_every_component_is_measured_alone_and_nulls_are_grey(
    start: Callable[..., Served], opened: Open
) -> None:
    page = opened(f"{start(Painted(scene(4, 4, 8))).origin}/#set=L1.H1")
    page.get_by_role("button", name="measure each alone").click()
    page.wait_for_selector(".map [aria-label^='layers and'][aria-label*='utility']")
    until(page, "() => !document.querySelector('.progress.busy')")
    grey = page.locator('[role=gridcell] rect[fill="url(#lab-null)"]')
    assert grey.count() == 11
    page.get_by_label("grey what chance gives").uncheck()
    assert grey.count() == 0
    assert page.get_by_role("button", name="measure each alone").count() == 0
    assert selected(page) == {"L1.H1"}


def test_the_largest_are_named_and_one_click_away(start: Callable[..., Served], opened: Open) -> None:
    told = scene(4, 4, 8)
    names, values = told["components"]["name"], told["colourings"][0]["values"]
    worth = dict(zip(names, values, strict=True))
    page = opened(f"{start(Painted(told)).origin}/")
    largest = page.get_by_role("group", name="largest on the map").get_by_role("button")

    def named() -> list[str]:
        return [one.split()[0] for one in largest.all_inner_texts()]

    assert named() == sorted(names, key=lambda name: -worth[name])[:5]
    page.get_by_role("rowheader", name="all of L0").click(force=True)
    inside = [name for name in names if name.startswith("L0.") and worth[name] > 0.1]
    assert named() == sorted(inside, key=lambda name: -worth[name])[:5]
    best = named()[0]
    largest.first.click()
    assert selected(page) == {best}


def test_illegal_answers_are_dashed_by_kind(players_page: str, few: Lab, opened: Open) -> None:
    masses = few.stage("pair").bench.ends["tuned"].masses
    page = opened(f"{players_page}/#at={int(masses.max(axis=1).argmax())}")
    page.wait_for_selector(".board .tuned polygon.illegal[stroke-dasharray]")
    listed = page.get_by_role("list", name="illegal answers on the board").get_by_role("listitem")
    kinds = few.stage("pair").bench.arena.kinds
    for text in listed.all_inner_texts():
        assert re.fullmatch(rf"\s*[a-h1-8]+ is illegal, ({'|'.join(kinds)}): .*\d%", text)
    assert listed.count()
    page.get_by_role("checkbox", name="tuned").uncheck()
    assert page.locator(".board .tuned polygon").count() == 0


def test_two_tabs_and_a_server_that_ends(start: Callable[..., Served], few: Lab, opened: Open) -> None:
    served = start(few)
    one, other = (opened(f"{served.origin}/#set={name}&at=1", quiet=False) for name in ("L0.H0", "L3.MLP"))
    exact(one)
    exact(other)
    assert [selected(page) for page in (one, other)] == [{"L0.H0"}, {"L3.MLP"}]
    served.stop()
    alert = one.get_by_role("alert")
    alert.wait_for()
    assert "what is shown stays" in alert.inner_text()
    assert one.locator(".answer table").is_visible()
    start(few, port=served.port)
    alert.wait_for(state="detached")
    exact(one)
    assert selected(one) == {"L0.H0"}


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    folder = tmp_path_factory.mktemp("chats")
    base, tuned = tiny_chat.save_pair(folder)
    rows = [
        {
            "prompt": f"what is {n} <img src=x onerror=alert(1)>",
            "choices": ["four", "five\n"],
            "answer": "four",
        }
        for n in range(6)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "reward.py").write_text(
        "def own(completions, **_):\n    return [len(text) for text in completions]\n"
    )
    return str(base), str(tuned), folder


def of_rows(chats: tuple[str, str, Path], **more: Any) -> Lab:
    base, tuned, folder = chats
    path = folder / f"arena-{len(list(folder.glob('arena-*')))}.yaml"
    path.write_text(json.dumps({"data": str(folder / "rows.jsonl"), **more}))
    return Lab([view_of_pair(open_pair(base, tuned), arena(f"rows:{path}"), (4, 0))])


def test_choices_are_side_by_side_and_tinted(chats, start: Callable[..., Served], opened: Open) -> None:
    lab = of_rows(chats, choices="choices", answer="answer")
    page = opened(f"{start(lab).origin}/#set=L0.H1", ".answers")
    page.wait_for_selector(".answers .token")
    assert page.locator(".answers article").count() == 2
    assert "<img" in page.locator(".prompt").inner_text()
    assert page.locator(".prompt img").count() == 0
    assert "↵" in page.locator(".answers").inner_text()
    page.get_by_label("type a prompt").fill("how many are two and two")
    page.get_by_role("button", name="try it").click()
    until(page, "() => document.querySelector('.prompt').innerText.includes('how many')")


def test_answers_stream(chats, start: Callable[..., Served], opened: Open) -> None:
    reward = f"{chats[2] / 'reward.py'}:own"
    page = opened(
        f"{start(of_rows(chats, rewards=[reward], answers=2, max_tokens=6)).origin}/#set=L0.*", ".answers"
    )
    exact(page)
    page.get_by_role("button", name="draw", exact=True).click()
    page.wait_for_selector(".columns > div:nth-child(1) .facts li")
    assert page.locator(".columns > div").all_inner_texts()[2].startswith("hybrid")
    assert page.locator(".columns article").count() == 6


def test_an_agent_sees_and_acts(tmp_path: Path, start: Callable[..., Served], opened: Open) -> None:
    pair = open_pair(*map(str, networks.save_agents(tmp_path)["PPO"]))
    lab = Lab([view_of_pair(pair, arena("gym:CartPole-v1"), (6, 0))])
    page = opened(f"{start(lab).origin}/#set=L0.U1")
    exact(page)
    assert page.locator(".observation tr").count() == 4
    assert page.locator(".actions tbody tr").count() >= 2
    assert page.locator("[role=gridcell]").count() == 13


def test_a_bundle_opens_from_disk(few: Lab, tmp_path: Path, opened: Open) -> None:
    stage = few.stage("pair")
    folder = export(few, tmp_path / "bundle")
    page = opened(f"file://{folder}/index.html#set=L0.H1")
    exact(page)
    text = page.locator(".answer table").inner_text()
    answer = next(one for one in stage.select({"set": "L0.H1", "situation": int(told(page)["at"])}))
    p = max(answer["sides"]["hybrid"]["p"])
    best = answer["situation"]["actions"][answer["sides"]["hybrid"]["p"].index(p)]
    assert f"{best} {p:.0%}" in page.locator(".answer .sides").inner_text()
    page.keyboard.press("j")
    until(page, "text => document.querySelector('.answer table').innerText !== text", text)
    page.locator("#lab-set").fill("L0.H1 L3.MLP")
    page.keyboard.press("Enter")
    assert "not in this record" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("type a position").count() == 0
    assert page.get_by_label("strength").count() == 0


def test_a_notebook_shows_the_same(few: Lab, start: Callable[..., Served], opened: Open) -> None:
    files = {
        **page_files(),
        "index.html": b'<!doctype html><link rel="icon" href="data:,"><link rel="stylesheet" href="lab.css">'
        b'<div id="cell"></div><script type="module" src="host.js"></script>',
        "host.js": HOST.encode(),
    }
    page = opened(f"{start(few, files=files).origin}/")
    press(page, "L1.MLP")
    exact(page)
    assert selected(page) == {"L1.MLP"}
    assert not urlsplit(page.url).fragment


def test_large_models_and_long_lists(start: Callable[..., Served], opened: Open) -> None:
    lab = Painted(scene(80, 64, 2000))
    page = opened(f"{start(lab).origin}/")
    assert page.get_by_role("gridcell").count() == 80 * 65 + 2
    assert page.locator("[data-place]").count() < 60
    spent = page.evaluate(
        """async () => {
          const cell = document.querySelector('[data-name="L40.H33"] rect').getBoundingClientRect();
          const spot = {clientX: cell.x + 2, clientY: cell.y + 2, bubbles: true, button: 0};
          const at = {...spot, pointerId: 1, pointerType: "touch"};
          const map = document.querySelector("svg[role=grid]");
          const began = performance.now();
          map.dispatchEvent(new PointerEvent("pointerdown", at));
          map.dispatchEvent(new PointerEvent("pointerup", at));
          await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }"""
    )
    assert selected(page) == {"L40.H33"}
    assert spent < 2000
    page.get_by_role("rowheader", name="all of L60").click(force=True)
    assert told(page)["set"] == "L60.*"
    page.get_by_label("larger").click()
    box = page.locator(".situations .list")
    box.evaluate("one => { one.scrollTop = one.scrollHeight }")
    page.wait_for_selector("[role=option][aria-posinset='2000']")
    page.keyboard.press("l")
    page.keyboard.press("End")
    until(
        page,
        "() => document.querySelector('[role=option][aria-selected=true]')?.ariaPosInSet === '2000'",
    )
    page.get_by_label("feature").select_option("even")
    page.wait_for_selector(".situations .note:text('1000 of 2000')")


def test_a_slider_over_training_and_the_newest_wins(start: Callable[..., Served], opened: Open) -> None:
    lab = Painted(scene(4, 4, 8, course=6))
    page = opened(f"{start(lab).origin}/#set=L1.H1")
    slider = page.get_by_label("snapshot of training")
    slide(slider, 0, 1, 2, 3)
    until(page, "() => location.hash.includes('view=step-3')")
    assert "step 3" in page.locator(".course").inner_text()
    assert selected(page) == {"L1.H1"}
    assert page.locator(".plot").is_visible()


@pytest.mark.parametrize("width", [420, 1400])
def test_nothing_stands_out_of_the_page(width: int, players_page: str, opened: Open) -> None:
    page = opened(f"{players_page}/#set=L0.H1")
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea")].filter((one) =>
          !one.innerText?.trim() && !one.getAttribute("aria-label") && !one.labels?.length).length"""
    )
    assert nameless == 0
