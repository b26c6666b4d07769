"""The page of `render` in Chromium: clicks, keys, widths, and that it loads nothing."""

import itertools
import shutil

import pytest

from modeling_docre_ii import render, write_error_report
from tests.html_page import HOSTILE
from tests.modeling_docre_ii.visualization.documents import NAMES, TEXT_DOCUMENT, TOKEN_DOCUMENT, TRIPLES, triple


pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens a page of HTML. It must not ask for anything else, and must not have an error."""
    opened, complaints = [], []

    def open_page(html, size="desktop", scheme="light"):
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        width, height = SIZES[size]
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        opened.append(page)
        page.on("request", lambda request: complaints.append(request.url) if request.url != file.as_uri() else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(file.as_uri())
        return page

    yield open_page
    for page in opened:
        page.close()
    assert complaints == []


def texts(page, selector):
    """The texts of elements, without the numbers of entities."""
    script = "nodes => nodes.map(node => node.cloneNode(true)).map(node => {"
    script += "node.querySelectorAll('sub').forEach(sub => sub.remove()); return node.textContent; })"
    return page.eval_on_selector_all(selector, script)


def evidence_of(page):
    return page.eval_on_selector_all(
        ".sentence.evidence > .muted", "nodes => nodes.map(node => Number(node.textContent))"
    )


def assert_second_triple_is_chosen(page):
    assert texts(page, ".mention.head") == ["Ada"]
    assert texts(page, ".mention.tail") == ["France"]
    assert evidence_of(page) == [0, 1]
    details = page.text_content("#details")
    for said in (
        "0 Ada PER",
        "2 France LOC",
        "iteration 2",
        "score 0.91",
        "Sentence 1",
        "Ada → Paris",
        "birth",
        "a; b",
    ):
        assert said in details
    assert page.get_attribute("g.edge >> nth=1", "aria-pressed") == "true"
    assert page.locator(".node.head .name").text_content() == "Ada"
    assert page.locator(".node.tail .name").text_content() == "France"
    assert page.locator(".support path").count() == 2


def assert_nothing_is_chosen(page):
    assert page.locator(".mention.head, .mention.tail, .sentence.evidence, .edge.on, [aria-pressed=true]").count() == 0


@pytest.mark.parametrize("document", [TEXT_DOCUMENT, TOKEN_DOCUMENT], ids=["text", "tokens"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_click_on_a_triple_marks_its_mentions_and_evidence(open_page, document, size, scheme):
    page = open_page(render(document, TRIPLES), size, scheme)
    assert texts(page, ".mention") == ["Ada", "Paris", "Paris", "France"]
    page.click("#listing tbody tr:nth-child(2) .link")
    page.mouse.move(0, 0)
    assert_second_triple_is_chosen(page)
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    assert_nothing_is_chosen(page)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_a_click_on_an_edge_chooses_its_triple_and_one_on_a_node_its_entity(open_page):
    page = open_page(render(TEXT_DOCUMENT, TRIPLES))
    page.click(".label >> nth=1")
    page.mouse.move(0, 0)
    assert_second_triple_is_chosen(page)
    page.click("#details button:has-text('Ada → Paris')")
    assert texts(page, ".mention.tail") == ["Paris", "Paris"]
    page.click("#details button:has-text('Clear')")
    page.mouse.move(0, 0)
    assert_nothing_is_chosen(page)

    page.click(".node >> nth=2")
    assert texts(page, ".mention.head") == ["France"]
    assert page.locator("#listing tbody tr").count() == 1
    page.click("text=Show all")
    assert page.locator("#listing tbody tr").count() == 2


def test_the_keyboard_reaches_the_graph_and_the_table(open_page):
    page = open_page(render(TEXT_DOCUMENT, TRIPLES))

    def focused():
        return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")

    passed = []
    while not (passed and passed[-1].startswith("Entity 0")):
        page.keyboard.press("Tab")
        passed.append(focused())
        assert len(passed) < 15
    assert passed[0] == "Skip to the triples" and {"Text", "Zoom in"} <= set(passed)
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert focused() == "Triple 2: Ada, citizenship, France, score 0.91, found by iteration 2"
    assert page.evaluate("getComputedStyle(document.activeElement.querySelector('.line')).strokeWidth") == "6px"
    page.keyboard.press("Enter")
    assert_second_triple_is_chosen(page)
    page.keyboard.press("Escape")
    assert_nothing_is_chosen(page)
    page.keyboard.press("Home")
    assert focused().startswith("Entity 0: Ada, PER, 2 triples")
    while focused() != "citizenship":
        page.keyboard.press("Tab")
        passed.append(focused())
        assert len(passed) < 35
    page.keyboard.press("Enter")
    assert evidence_of(page) == [0, 1]


def test_the_picker_changes_the_document(open_page):
    second = {**TOKEN_DOCUMENT, "title": "Second"}
    page = open_page(render([TEXT_DOCUMENT, second, TEXT_DOCUMENT], [TRIPLES, [], TRIPLES[:1]]))
    options = page.locator("header select option").all_text_contents()
    assert options == ["1. Ada (2 triples)", "2. Second (0 triples)", "3. Ada (1 triple)"]
    assert page.is_disabled("[aria-label='Previous document']")
    page.click("[aria-label='Next document']")
    assert page.text_content("h1") == "Second" and page.locator("g.edge").count() == 0
    page.select_option("header select", "2")
    assert page.locator("g.edge").count() == 1 and page.is_disabled("[aria-label='Next document']")


def markup_of(page, selector):
    return page.eval_on_selector_all(selector, "nodes => nodes.map(node => node.outerHTML)")


def boxes_of(page, selector):
    return [node.bounding_box() for node in page.locator(selector).all()]


def overlap(a, b):
    return all(
        a[axis] < b[axis] + b[size] and b[axis] < a[axis] + a[size] for axis, size in (("x", "width"), ("y", "height"))
    )


@pytest.mark.parametrize("size", SIZES)
def test_forty_entities_and_sixty_triples_are_drawn_apart(open_page, size):
    names = [f"Entity number {index}" for index in range(40)]
    text, entities = "", []
    for index, name in enumerate(names):
        entities.append({"type": f"TYPE {index % 9}", "mentions": [[len(text), len(text) + len(name)]]})
        text += f"{name} is here. "

    def between(head, tail):
        ends = {side: {"entity": index, "name": names[index]} for side, index in (("head", head), ("tail", tail))}
        return {**triple(0, 1), **ends}

    pairs = (
        [(0, 1)] * 3 + [(1, 0)] * 2 + [(2, 2)] * 2 + [(index * 7 % 40, (index * 11 + 3) % 40) for index in range(53)]
    )
    html = render({"text": text, "entities": entities}, [between(*pair) for pair in pairs])
    page = open_page(html, size)
    assert page.locator("g.edge").count() == 60 and page.locator("g.node").count() == 40
    boxes = boxes_of(page, "g.node rect")
    assert not [pair for pair in itertools.combinations(boxes, 2) if overlap(*pair)]
    lines = markup_of(page, ".edge .line")
    assert len(set(lines)) == 60
    numbers = boxes_of(page, ".label .number-of")
    assert len({(round(box["x"]), round(box["y"])) for box in numbers}) == 60
    again = open_page(html, size)
    assert markup_of(again, ".edge .line") == lines
    assert markup_of(again, ".node") == markup_of(page, ".node")


def test_hostile_text_is_shown_and_does_nothing(open_page):
    attack = f"<img src=x onerror=alert(1)> {HOSTILE}"
    document = {**TEXT_DOCUMENT, "title": attack, "text": TEXT_DOCUMENT["text"] + attack}
    page = open_page(render(document, [triple(0, 1, attack, iteration=1, support=[])]))
    page.click("#listing .link")

    def shown(text):
        return " ".join(text.split())

    assert shown(page.text_content("h1")) == shown(attack)
    assert shown(attack) in shown(page.text_content("#details"))
    assert page.locator("img").count() == 0 and page.locator("script").count() == 2


def test_it_works_in_the_frame_of_a_notebook(open_page, browser):
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    page.set_content(f"<h1>Notebook</h1>{render(TEXT_DOCUMENT, TRIPLES)._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.locator("#listing .link >> nth=1").click()
    assert frame.locator(".sentence.evidence").count() == 2
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "32px"
    page.close()


def test_the_report_marks_evidence_as_well(open_page, tmp_path):
    rows = [{"title": "Ada", "h_idx": 0, "t_idx": 2, "r": "P27", "score": 0.9, "evidence": [1]}]
    write_error_report(tmp_path / "report.html", [TOKEN_DOCUMENT], {"base": rows}, {"P27": "citizenship"})
    page = open_page((tmp_path / "report.html").read_text(encoding="utf-8"))
    page.click("#list button:has-text('Ada')")
    page.click(".triples .link")
    page.mouse.move(0, 0)
    assert texts(page, ".mention.head") == ["Ada"] and texts(page, ".mention.tail") == [NAMES[2]]
    assert texts(page, ".sentence.found") == ["1Paris is in France . "]
