"""The folder in which the documentation is run: the repository's files, and small files for the names on its pages."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii import (
    DocREIIConfig,
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    extract_to_parquet,
    to_submission,
    write_submission,
)
from modeling_docre_ii.cli.importing import main as import_annotations
from modeling_docre_ii.evaluation.plain_texts import plain_text_of
from modeling_docre_ii.training.distillation import Teacher, write_teacher_probabilities
from modeling_docre_ii.training.predictions import PredictedFact
from tests.documentation import ROOT
from tests.hub_model import make_tokenizer
from tests.tagger import save_tagger


LINKED = ("benchmarks", "configuration", "dataset_scripts", "docs", "examples", "modeling_docre_ii", "run_docre.py")
SAMPLES = ROOT / "tests" / "dataset_scripts"
ENCODER = "google-bert/bert-base-cased"
CHECKPOINT = "outputs/quickstart"
# Sizes of a model that trains in a second.
TINY_MODEL = {
    "pair_hidden_size": 16,
    "pair_intermediate_size": 16,
    "pair_bilinear_rank": 8,
    "pair_block_size": 4,
    "pair_feature_size": 16,
    "inference_hidden_size": 16,
    "inference_intermediate_size": 16,
    "contrastive_hidden_size": 8,
}


def make_working_folder(folder: Path) -> None:
    """Links what commands use of the repository, and adds [`write_placeholders`]."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    write_placeholders(folder)


def write_placeholders(folder: Path) -> None:
    """
    Writes small files under the names that the pages use:

    - `TRAIN.json`, `DEV.json`, `TEST.json` and `corpus.jsonl`: documents of the bundled sample;
    - `corpus/dev.jsonl` and `corpus/relations.json`: what `docre-ii import` makes of the bundled brat files;
    - `TRAIN.data`, `DEV.data`, `PMIDS.txt`: an abstract of GDA each in EoG's columns, and the first's PMID;
    - `CDR_FOLDER`, `GDA_FOLDER` and `2017MeshTree.txt`: the samples of the tests;
    - `google-bert/bert-base-cased`: a tiny encoder of random weights, with a tokenizer;
    - `outputs/quickstart`: a tiny checkpoint of random weights with DocRED's relations, its `stage_1` and its
      `mention_model`, and the same as `outputs/redocred_minilm` and `outputs/evidence`;
    - `outputs/cdr_minilm`: another one, with CDR's relation;
    - `outputs/seed_42`, `outputs/seed_43`, `outputs/seed_44`, `outputs/token_43` and `outputs/prior`: its `stage_1`,
      with a `mention_model`;
    - `outputs/redocred_minilm/stage_1/fold_1`: random predictions for `TRAIN.json`, as if cross-fitted;
    - `outputs/teacher.safetensors`: what it predicts for `TEST.json`;
    - `result.json` and `other.json`: submissions about `DEV.json`;
    - `article.txt`, `articles`, `dev_texts.jsonl`: raw texts of `DEV.json`; `triples.jsonl`: their entities;
    - `triples`: triples of `corpus.jsonl` as Parquet.
    """
    documents = _write_documents(folder)
    import_annotations(["brat", str(ROOT / "examples/own_corpus/brat"), "--output", str(folder / "corpus/dev.jsonl")])
    _write_biomedical_corpora(folder)
    model, processor = _write_models(folder, documents)
    extract_to_parquet(model, processor, documents["TEST"], folder / "triples", documents_per_shard=2)
    gold = [[(fact["h"], fact["t"], fact["r"]) for fact in document["labels"]] for document in documents["DEV"]]
    _write_raw_texts(folder, documents["DEV"])
    for name, step in (("result", 2), ("other", 3)):
        facts = [[PredictedFact(*fact, score=0.9) for fact in of_document[::step]] for of_document in gold]
        write_submission(folder / f"{name}.json", to_submission(facts, documents["DEV"]))


def _write_documents(folder: Path) -> dict[str, list[dict]]:
    """Short documents, so that all runs are fast."""
    documents = {}
    for split, names in (("train", ("TRAIN", "TEST")), ("dev", ("DEV",))):
        of_split = json.loads((ROOT / "examples" / "re_docred_sample" / f"{split}.json").read_text(encoding="utf-8"))
        of_split.sort(key=lambda document: sum(map(len, document["sents"])))
        for start, name in zip((0, 6), names):
            documents[name] = of_split[start : start + 6]
    for name, of_name in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(of_name), encoding="utf-8")
    lines = [json.dumps(document) + "\n" for document in documents["TEST"]]
    (folder / "corpus.jsonl").write_text("".join(lines), encoding="utf-8")
    return documents


def _write_raw_texts(folder: Path, documents: list[dict]) -> None:
    texts = [plain_text_of(document) for document in documents]
    (folder / "article.txt").write_text(texts[0]["text"], encoding="utf-8")
    (folder / "articles").mkdir()
    for number, text in enumerate(texts):
        (folder / "articles" / f"{number}.txt").write_text(text["text"], encoding="utf-8")
    lines = [json.dumps({"title": text["title"], "text": text["text"]}) + "\n" for text in texts]
    (folder / "dev_texts.jsonl").write_text("".join(lines), encoding="utf-8")
    lines = [json.dumps({**text, "triples": []}) + "\n" for text in texts]
    (folder / "triples.jsonl").write_text("".join(lines), encoding="utf-8")


def _write_biomedical_corpora(folder: Path) -> None:
    cdr = folder / "CDR_FOLDER"
    cdr.mkdir()
    for split in ("Training", "Development", "Test"):
        shutil.copy(SAMPLES / "cdr_sample.PubTator.txt", cdr / f"CDR_{split}Set.PubTator.txt")
    shutil.copytree(SAMPLES / "gda_sample", folder / "GDA_FOLDER")
    shutil.copy(SAMPLES / "mesh_sample.txt", folder / "2017MeshTree.txt")
    # An abstract of GDA in 17 columns a pair.
    gene, disease = ("672", "BRCA1", "Gene", "0", "1", "0"), ("D001943", "cancer", "Disease", "2", "3", "0")
    pair = ("1:GDA:2", "L2R", "NON-CROSS", "0-1", "2-3", *gene, *disease)
    for title, name in (("1", "TRAIN.data"), ("2", "DEV.data")):
        line = "\t".join((title, "BRCA1 causes cancer .", *pair))
        (folder / name).write_text(f"{line}\n", encoding="utf-8")
    (folder / "PMIDS.txt").write_text("1\n", encoding="utf-8")


def _write_models(
    folder: Path, documents: dict[str, list[dict]]
) -> tuple[DocREIIForRelationExtraction, DocREIIProcessor]:
    torch.manual_seed(0)
    tokenizer = make_tokenizer([document for of_name in documents.values() for document in of_name])
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    encoder_config = BertConfig(vocab_size=len(tokenizer), **sizes)
    for part in (BertModel(encoder_config), tokenizer):
        part.save_pretrained(folder / ENCODER)
    processor = DocREIIProcessor(tokenizer, list(DOCRED_RELATIONS), relation_names=DOCRED_RELATIONS)
    of_cdr = DocREIIProcessor(tokenizer, ["Na", "CID"])
    checkpoints = [
        ("outputs/cdr_minilm", 3, of_cdr),
        (f"{CHECKPOINT}/stage_1", 0, processor),
        (CHECKPOINT, 3, processor),
    ]
    for path, num_iterations, its_processor in checkpoints:
        config = DocREIIConfig(
            encoder_config=encoder_config,
            id2label=dict(enumerate(its_processor.relations)),
            num_iterations=num_iterations,
            initializer_range=0.5,
            **TINY_MODEL,
        )
        model = DocREIIForRelationExtraction(config).eval()
        for part in (model, its_processor):
            part.save_pretrained(folder / path)
    save_tagger(folder / CHECKPOINT / "mention_model")
    for name in ("evidence", "redocred_minilm"):
        shutil.copytree(folder / CHECKPOINT, folder / "outputs" / name)
    for name in ("seed_42", "seed_43", "seed_44", "token_43", "prior"):
        shutil.copytree(folder / CHECKPOINT / "stage_1", folder / "outputs" / name)
        save_tagger(folder / "outputs" / name / "mention_model")
    teacher = Teacher(str(folder / CHECKPOINT), processor.relations)
    write_teacher_probabilities([teacher], documents["TEST"], folder / "outputs" / "teacher.safetensors")
    fold = folder / "outputs" / "redocred_minilm" / "stage_1" / "fold_1"
    fold.mkdir()
    sizes = [len(document["vertexSet"]) for document in documents["TRAIN"]]
    logits = {str(place): torch.randn(size * (size - 1), model.config.num_labels) for place, size in enumerate(sizes)}
    save_file(logits, fold / "held_out_logits.safetensors")
    return model, processor
