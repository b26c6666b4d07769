"""The page of the demo, and what it shows for a text and for files."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import gradio as gr
from reading import MAX_CHARACTERS, MAX_DOCUMENTS, Reader, Reading

from modeling_docre_ii import render


# Of the types of entities, the most frequent first, as on the pages of `render`.
COLORS = ["#cfe2ff", "#ffdcc4", "#cdeed5", "#e8d9ff", "#fbeeb0", "#ffd5e0", "#c8eef0", "#e2ddd0"]

EXAMPLES = [
    "Charles Babbage was an English mathematician. He was born in London, the capital of England. Babbage designed "
    "the Analytical Engine, which Ada Lovelace described in 1843. Lovelace, the daughter of the poet Lord Byron, was "
    "born and died in London as well.",
    "Marie Curie was born in Warsaw, the capital of Poland, in 1867. In 1891 she moved to Paris, where she studied at "
    "the University of Paris and met the French physicist Pierre Curie, whom she married in 1895. Their daughter "
    "Irène Joliot-Curie, born in Paris in 1897, was awarded the Nobel Prize in Chemistry together with her husband "
    "Frédéric Joliot-Curie.",
    "Skai TV is a Greek television network based in Piraeus. It belongs to the Skai Group, one of the largest media "
    "groups in Greece, which also owns the radio station Skai 100.3 in Athens. Piraeus is a port city in the region "
    "of Attica.",
]


# Columns and their widths. A phone scrolls the table.
TRIPLE_COLUMNS = {
    "head": "150px",
    "relation": "200px",
    "tail": "150px",
    "score": "80px",
    "first predicted by": "120px",
    "evidence": "510px",
}
CHANGE_COLUMNS = {"step": "120px", "change": "100px", "head": "310px", "relation": "370px", "tail": "310px"}
# Tables in the font of the page, and no space between a mention and the comma after it.
CSS = """
#triples, #changes { --font-mono: var(--font); }
#entities .textfield { font-size: 0; }
#entities .token { display: inline; margin: 0; padding: 0; }
#entities .token .text { font-size: var(--text-md); white-space: pre-wrap; background: inherit; border-radius: 4px; }
"""


def make_demo(reader: Reader) -> gr.Blocks:
    """Lays out the page."""
    results = tempfile.TemporaryDirectory()  # removed when the app ends
    last = reader.num_iterations
    with gr.Blocks(title="DocRE-II", analytics_enabled=False) as demo:
        gr.Markdown(
            "# DocRE-II: the relations of a document\n"
            "A model finds the entities of a text and the relations between them, across its sentences. Its inference "
            "module then reads its own predictions, a few times over, and revises them."
        )
        for notice in reader.notices:
            gr.Markdown(f"**{notice}**")
        with gr.Row():
            threshold = gr.Slider(
                0.05,
                0.95,
                0.5,
                step=0.05,
                label="Threshold",
                info="Score above which a triple is shown",
                elem_id="threshold",
            )
            iterations = gr.Slider(
                *(0, max(last, 1), last),
                step=1,
                label="Iterations",
                info="Of the inference module, 0 for the base module alone",
                visible=last > 0,
                elem_id="iterations",
            )
        settings = [threshold, iterations]
        with gr.Tab("Text"):
            text = gr.Textbox(
                label="Text", lines=6, max_lines=16, info=f"Up to {MAX_CHARACTERS:,} characters", elem_id="text"
            )
            gr.Examples([[example] for example in EXAMPLES], text, label="Examples")
            find = gr.Button("Find triples", variant="primary")
            said = gr.Textbox(label="Result", interactive=False, elem_id="said")
            with gr.Tab("Picture"):
                picture = gr.HTML(elem_id="picture")
            with gr.Tab("Entities"):
                entities = gr.HighlightedText(
                    show_label=False, show_legend=True, show_inline_category=False, elem_id="entities"
                )
            with gr.Tab("Triples"):
                triples = make_table(TRIPLE_COLUMNS, "triples")
            with gr.Tab("Iterations"):
                gr.Markdown("A step predicts the triples with a score above 0.5, whatever the threshold is.")
                counts = gr.Textbox(show_label=False, interactive=False, elem_id="counts")
                changes = make_table(CHANGE_COLUMNS, "changes")
            shown = [said, picture, entities, triples, counts, changes]
        with gr.Tab("Files"):
            gr.Markdown(
                f"Up to {MAX_DOCUMENTS} documents: `.txt` files with a text each, and `.jsonl` files with a document "
                'a line, `{"text": ...}`, with `"entities"` if you have them. The result has a line for each document.'
            )
            files = gr.File(
                label="Files", file_count="multiple", file_types=[".txt", ".jsonl"], height=150, elem_id="files"
            )
            extract = gr.Button("Extract triples", variant="primary")
            said_of_files = gr.Textbox(label="Result", interactive=False, elem_id="said_of_files")
            download = gr.File(label="triples.jsonl", visible=False, elem_id="download")

        def show_text(*given: Any) -> list[Any]:
            return show(reader, *given)

        def show_files(*given: Any) -> tuple[str, gr.File]:
            return extract_files(reader, results.name, *given)

        one_at_a_time = {"concurrency_id": "model", "concurrency_limit": 1}
        gr.on(
            [find.click, threshold.input, iterations.input],
            show_text,
            [text, *settings],
            shown,
            trigger_mode="always_last",  # of a slider that is being moved
            **one_at_a_time,
        )
        extract.click(show_files, [files, *settings], [said_of_files, download], **one_at_a_time)
    return demo


def make_table(columns: dict[str, str], name: str) -> gr.Dataframe:
    """Makes an empty table."""
    widths: list[str | int] = list(columns.values())
    return gr.Dataframe(headers=list(columns), column_widths=widths, wrap=True, interactive=False, elem_id=name)


def show(reader: Reader, text: str, threshold: float, num_iterations: int) -> list[Any]:
    """Returns what the page shows of a text: message, picture, entities, triples, counts and changes."""
    try:
        reading = reader.read(text, threshold, num_iterations)
    except ValueError as error:
        return [str(error), "", None, [], "", []]
    picture = render(reading.document, reading.best)._repr_html_()
    changes = [[step, change, *names_of(triple)] for step, change, triple in reading.changes()]
    return [reading.summary(), picture, entities_of(reading), rows_of(reading), reading.counts(), changes]


def extract_files(
    reader: Reader, folder: str, files: list[str] | None, threshold: float, num_iterations: int
) -> tuple[str, gr.File]:
    """Returns a message, and the file with the triples of uploaded files."""
    nothing = gr.File(None, visible=False)
    if not files:
        return "There are no files: choose some.", nothing
    output = str(Path(tempfile.mkdtemp(dir=folder)) / "triples.jsonl")
    try:
        said = reader.read_files(files, threshold, num_iterations, output)
    except (ValueError, OSError) as error:
        return str(error), nothing
    return said, gr.File(output, visible=True)


def entities_of(reading: Reading) -> Any:
    """Returns the text with its entities, in the colors of the picture."""
    spans = [(*span, entity["type"]) for entity in reading.document["entities"] for span in entity["mentions"]]
    types = [kind for kind, _ in Counter(kind for _, _, kind in spans).most_common()]
    marked = [{"start": start, "end": end, "entity": kind} for start, end, kind in sorted(spans)]
    return gr.HighlightedText(
        {"text": reading.document["text"], "entities": marked},
        color_map={kind: COLORS[index % len(COLORS)] for index, kind in enumerate(types)},
    )


def rows_of(reading: Reading) -> list[list[Any]]:
    """Returns the table of the best triples."""
    text = reading.document["text"]
    return [
        [
            *names_of(triple),
            round(triple["score"], 2),
            reading.first_step(triple),
            " … ".join(" ".join(text[start:end].split()) for start, end in triple["evidence_spans"]),
        ]
        for triple in reading.best
    ]


def names_of(triple: dict[str, Any]) -> tuple[str, str, str]:
    """Returns the names of head, relation and tail."""
    return triple["head"]["name"], triple["relation_name"], triple["tail"]["name"]
