"""Code that shows how a model is used, on a text with entities of its own types."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass


TASK = "document-relation-extraction"


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

    def of_types(self, types: Sequence[str]) -> "UsageExample | None":
        """The example with entities of these types alone; none if its first two are not of them."""
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
    Finds a text to show a model on.

    Args:
        types (`list[str]`):
            The types of entities that the model knows, the most frequent first. Empty if nobody knows: then it is
            shown on entities of DocRED's types.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of types that can be related.
    """
    if candidate_types:
        types = [type_ for pair in candidate_types for type_ in pair]
    for example in EXAMPLES:
        fitting = example.of_types(types)
        if fitting is not None:
            return fitting
    head, tail = candidate_types[0] if candidate_types else (types[0], types[min(1, len(types) - 1)])
    names = [" ".join([*type_.split(), letter]) for type_, letter in ((head, "A"), (tail, "B"))]
    text = f"{names[0]} was seen with {names[1]}. What {names[0]} has to do with {names[1]} is what the model says."
    words = [*names[0].split(), "was", "seen", "with", *names[1].split(), "."]
    return UsageExample(text, words, dict(zip(names, (head, tail))))


def pipeline_snippet(model: str, example: UsageExample) -> str:
    """Code that asks the pipeline for the triples of a plain text."""
    entities = []
    for name, type_ in example.entities.items():
        spans = [list(match.span()) for match in re.finditer(re.escape(name), example.text)]
        entities.append(f'            {{"mentions": {spans}, "type": {_quote(type_)}}},  # {name}')
    return "\n".join(
        [
            "from transformers import pipeline",
            "",
            f"extractor = pipeline({_quote(TASK)}, model={_quote(model)}, trust_remote_code=True)",
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


def model_snippet(model: str, example: UsageExample) -> str:
    """Code that runs processor and model on a document in DocRED's form."""
    entities = []
    for name, type_ in list(example.entities.items())[:2]:
        words = name.split()
        start = next(i for i in range(len(example.words)) if list(example.words[i : i + len(words)]) == words)
        mention = f'"name": {_quote(name)}, "sent_id": 0, "pos": [{start}, {start + len(words)}]'
        entities.append(f'        [{{{mention}, "type": {_quote(type_)}}}],')
    load = f"from_pretrained({_quote(model)}, trust_remote_code=True)"
    return "\n".join(
        [
            "import torch",
            "from transformers import AutoModel, AutoProcessor",
            "",
            f"model = AutoModel.{load}.eval()",
            f"processor = AutoProcessor.{load}",
            "",
            "document = {",
            '    "title": "any name",',
            f'    "sents": [{json.dumps(list(example.words), ensure_ascii=False)}],',
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
    """Code that makes the pipeline where this package is installed."""
    return "\n".join(
        [
            "from transformers import pipeline",
            "",
            "import modeling_docre_ii  # registers the classes and the pipeline",
            "",
            f"extractor = pipeline({_quote(TASK)}, model={_quote(model)})",
        ]
    )


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


__all__ = ["UsageExample", "find_example", "model_snippet", "package_snippet", "pipeline_snippet"]
