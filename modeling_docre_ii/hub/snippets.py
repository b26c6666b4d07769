"""Code in the model card that shows how to use a model, and its output."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..loaded_weights import device_to_run_on
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..pipeline_docre_ii import DocumentRelationExtractionPipeline
from ..processing_docre_ii import DocREIIProcessor
from .markdown import one_line


TASK = "document-relation-extraction"
# Triples that the card shows of its example.
_SHOWN_TRIPLES = 8


@dataclass(frozen=True)
class UsageExample:
    """
    A text with entities, and a sentence with the first two of them.

    Args:
        text (`str`): The text, with every entity at least once.
        words (`list[str]`): The tokens of a sentence with the first two entities.
        entities (`dict[str, str]`): Name -> type.
    """

    text: str
    words: Sequence[str]
    entities: dict[str, str]

    @property
    def document(self) -> dict[str, Any]:
        """`dict`: the text with its entities, as the pipeline takes it."""
        return {
            "text": self.text,
            "entities": [
                {"mentions": [list(match.span()) for match in re.finditer(re.escape(name), self.text)], "type": type_}
                for name, type_ in self.entities.items()
            ],
        }

    def of_types(self, types: Sequence[str]) -> "UsageExample | None":
        """
        Keeps the entities of some types.

        Args:
            types (`list[str]`):
                The types. All are kept if it is empty.

        Returns:
            [`UsageExample`] or `None`: `None` if one of the first two entities is of another type.
        """
        entities = {name: type_ for name, type_ in self.entities.items() if not types or type_ in types}
        has_pair = list(entities)[:2] == list(self.entities)[:2]
        return UsageExample(self.text, self.words, entities) if has_pair else None


EXAMPLES = (
    UsageExample(
        "Marie Curie was born in Warsaw, Poland, and studied in Paris. In 1895 she married Pierre Curie, with whom "
        "Marie Curie discovered polonium at the University of Paris in France.",
        ("Marie", "Curie", "was", "born", "in", "Warsaw", "."),
        {
            "Marie Curie": "PER",
            "Warsaw": "LOC",
            "Poland": "LOC",
            "1895": "TIME",
            "Pierre Curie": "PER",
            "University of Paris": "ORG",
            "France": "LOC",
        },
    ),
    UsageExample(
        "Lidocaine and cardiac asystole. A 67-year-old man was given Lidocaine. Minutes later, cardiac asystole and "
        "hypotension were seen.",
        ("Lidocaine", "caused", "cardiac", "asystole", "."),
        {"Lidocaine": "Chemical", "cardiac asystole": "Disease", "hypotension": "Disease"},
    ),
    UsageExample(
        "BRCA1 and breast cancer. Women with a mutation of BRCA1 have a high risk of breast cancer, and of ovarian "
        "cancer as well.",
        ("BRCA1", "mutations", "cause", "breast", "cancer", "."),
        {"BRCA1": "Gene", "breast cancer": "Disease", "ovarian cancer": "Disease"},
    ),
)


def find_example(types: Sequence[str], candidate_types: Sequence[Sequence[str]] | None = None) -> UsageExample:
    """
    Returns a text to show a model on.

    Args:
        types (`list[str]`):
            Entity types that the model knows, the most frequent first. If it is empty, the example has DocRED's types.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of types that can be related.

    Returns:
        [`UsageExample`]
    """
    if candidate_types:
        types = [type_ for pair in candidate_types for type_ in pair]
    for example in EXAMPLES:
        fitting = example.of_types(types)
        if fitting is not None:
            return fitting
    head, tail = candidate_types[0] if candidate_types else (types[0], types[min(1, len(types) - 1)])
    names = [" ".join([*type_.split(), letter]) for type_, letter in ((head, "A"), (tail, "B"))]
    text = f"{names[0]} was seen with {names[1]}. The model says how {names[0]} and {names[1]} are related."
    words = [*names[0].split(), "was", "seen", "with", *names[1].split(), "."]
    return UsageExample(text, words, dict(zip(names, (head, tail))))


def pipeline_snippet(model: str, example: UsageExample, is_on_hub: bool) -> str:
    """
    Returns code that extracts the triples of a plain text with the pipeline.

    Args:
        model (`str`):
            Name of the model on the Hub, or its folder.
        example ([`UsageExample`]):
            The text.
        is_on_hub (`bool`):
            Whether to run the code in the model's repository, or that of this package.
    """
    entities = [
        f'            {{"mentions": {entity["mentions"]}, "type": {_quote(entity["type"])}}},  # {one_line(name)}'
        for name, entity in zip(example.entities, example.document["entities"])
    ]
    return "\n".join(
        [
            *_load_pipeline(model, is_on_hub),
            "triples = extractor(",
            "    {",
            f'        "text": {_quote(example.text)},',
            '        "entities": [',
            *entities,
            "        ],",
            "    }",
            ")",
            "for triple in triples:",
            '    head, tail = triple["head"]["name"], triple["tail"]["name"]',
            "    print(f\"{triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}\")",
        ]
    )


def example_output(model: DocREIIForRelationExtraction, processor: DocREIIProcessor, example: UsageExample) -> str:
    """
    Runs a model on an example and returns what [`pipeline_snippet`] prints.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model. It is left in the mode, training or evaluation, that it is in.
        processor ([`DocREIIProcessor`]):
            Its processor.
        example ([`UsageExample`]):
            The text.

    Returns:
        `str`: a line for each triple, the first ones if there are many; empty without any.
    """
    is_training = model.training
    device = device_to_run_on(model)
    extractor = DocumentRelationExtractionPipeline(model=model.eval(), processor=processor, device=device)
    triples = extractor(example.document)
    model.train(is_training)
    lines = [
        f"{triple['score']:.2f}  {head}  --{relation}-->  {tail}"
        for triple in triples
        for head, relation, tail in [
            map(one_line, (triple["head"]["name"], triple["relation_name"], triple["tail"]["name"]))
        ]
    ]
    return "\n".join(lines[:_SHOWN_TRIPLES] + ["..."] * (len(lines) > _SHOWN_TRIPLES))


def model_snippet(model: str, example: UsageExample, is_on_hub: bool) -> str:
    """
    Returns code that runs processor and model on a document in DocRED's form.

    Args:
        model, example, is_on_hub: As for [`pipeline_snippet`].
    """
    entities = []
    for name, type_ in list(example.entities.items())[:2]:
        words = name.split()
        start = next(i for i in range(len(example.words)) if list(example.words[i : i + len(words)]) == words)
        mention = f'"name": {_quote(name)}, "sent_id": 0, "pos": [{start}, {start + len(words)}]'
        entities.append(f'        [{{{mention}, "type": {_quote(type_)}}}],')
    name, options = _quote(model), ', trust_remote_code=True, revision="main"' if is_on_hub else ""
    return "\n".join(
        [
            "import torch",
            "from transformers import AutoModel, AutoProcessor",
            "",
            *([] if is_on_hub else ["import modeling_docre_ii  # registers the classes", ""]),
            f"model = AutoModel.from_pretrained({name}{options}).eval()",
            f"processor = AutoProcessor.from_pretrained({name}{options})",
            "",
            "document = {",
            '    "title": "any name",',
            f'    "sents": [[{", ".join(map(_quote, example.words))}]],',
            '    "vertexSet": [',
            *entities,
            "    ],",
            "}",
            "with torch.no_grad():",
            '    outputs = model(**processor(document, return_tensors="pt"))',
            "print(processor.post_process_relation_extraction(outputs, document)[0])",
        ]
    )


def package_snippet(model: str) -> str:
    """Returns code that makes the pipeline where this package is installed."""
    return "\n".join(_load_pipeline(model, is_on_hub=False))


def _load_pipeline(model: str, is_on_hub: bool) -> list[str]:
    name = _quote(model)
    if not is_on_hub:
        return [
            "from transformers import pipeline",
            "",
            "import modeling_docre_ii  # registers the classes and the pipeline",
            "",
            f"extractor = pipeline({_quote(TASK)}, model={name})",
        ]
    return [
        "from transformers import pipeline",
        "",
        "extractor = pipeline(",
        f"    {_quote(TASK)},",
        f"    model={name},",
        "    trust_remote_code=True,  # runs the Python files in this repository",
        '    revision="main",  # better: the hash of the commit that you have read',
        ")",
    ]


def _quote(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


__all__ = ["UsageExample", "example_output", "find_example", "model_snippet", "package_snippet", "pipeline_snippet"]
