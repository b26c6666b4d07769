#!/usr/bin/env python
"""
Train, evaluate and predict with DocRE-II.

    accelerate launch run_docre.py configuration/quickstart.yaml
    accelerate launch run_docre.py configuration/quickstart.yaml --num_train_epochs 30 --seed 1
    python run_docre.py --help

The configuration file (YAML or JSON) holds any of the arguments below; those on the command line come after it and
win. `--help` shows what one usually sets, `--help-all` every argument of transformers' TrainingArguments as well.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from dataset_scripts.corpus import Corpus, load_corpus
from modeling_docre_ii import (
    DataCollatorForRelationExtraction,
    DocREIIConfig,
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
    DocumentError,
    TypePairBaseline,
    describe_explanation,
    extract_to_parquet,
    make_compute_metrics,
    paired_bootstrap,
    read_submission,
    score_facts,
    score_relations,
    summarize_runs,
    to_submission,
    write_error_report,
    write_submission,
)
from modeling_docre_ii.cli.arguments import Arguments, DataArguments, card_kwargs, parse_arguments, resolve_path
from modeling_docre_ii.documents import with_relation_ids
from modeling_docre_ii.evaluation.tables import (
    comparison_table,
    iteration_names,
    iteration_table,
    relation_table,
    runs_table,
    score_table,
)
from modeling_docre_ii.hub.training_record import TrainedStage
from modeling_docre_ii.pipeline_docre_ii import check_label_map
from modeling_docre_ii.training.metrics import ignored_pairs
from modeling_docre_ii.training.precision import reuse_precision_of_stages
from modeling_docre_ii.training.predictions import unpack_facts
from modeling_docre_ii.utils.atomic_write import atomic_write


logger = logging.getLogger("run_docre")


def load_model(
    arguments: Arguments, stage: int, path: str, corpus: Corpus
) -> tuple[DocREIIForRelationExtraction, DocREIIProcessor]:
    """
    Loads a DocRE-II checkpoint, or makes a new model on a pretrained encoder; for training, with the inference module
    in stage 2 and without it in stage 1.
    """
    path = resolve_path(path)
    model_args, candidate_types = arguments.model, arguments.data.candidate_types or corpus.candidate_types
    relations = {
        "relations": corpus.relations,
        "relation_names": corpus.relation_names,
        "candidate_types": candidate_types,
    }
    if AutoConfig.from_pretrained(path).model_type == DocREIIConfig.model_type:
        if has_label_map(path, corpus, arguments, stage):
            return _load_checkpoint(arguments, stage, path), DocREIIProcessor.from_pretrained(path)
        processor = DocREIIProcessor.from_pretrained(path, **relations)
        id2label = dict(enumerate(corpus.relations))
        label2id = {relation: index for index, relation in id2label.items()}
        changes = {"id2label": id2label, "label2id": label2id, "ignore_mismatched_sizes": True}
        return _load_checkpoint(arguments, stage, path, **changes), processor
    processor = DocREIIProcessor(
        AutoTokenizer.from_pretrained(path),
        **relations,
        mark_types=model_args.mark_types,
        mention_anchor=model_args.mention_anchor,
    )
    model = DocREIIForRelationExtraction.from_encoder_pretrained(
        path,
        encoder_kwargs=model_args.encoder_kwargs,
        id2label=dict(enumerate(corpus.relations)),
        num_prefix_tokens=processor.num_prefix_tokens,
        num_suffix_tokens=processor.num_suffix_tokens,
        **(model_args.model_kwargs | ({"num_iterations": 0} if stage == 1 else {})),
    )
    return model, processor


def _load_checkpoint(arguments: Arguments, stage: int, path: str, **changes: Any) -> DocREIIForRelationExtraction:
    has_inference = DocREIIConfig.from_pretrained(path).num_iterations > 0
    if not arguments.training[stage].do_train:
        return DocREIIForRelationExtraction.from_pretrained(path)
    if stage == 1 and has_inference:
        raise ValueError(f"{path!r} has an inference module: go on with `stages: [2]`")
    if stage == 1 or has_inference:
        return DocREIIForRelationExtraction.from_pretrained(path, **changes)
    return DocREIIForRelationExtraction.from_base_pretrained(path, **arguments.model.model_kwargs, **changes)


def has_label_map(path: str, corpus: Corpus, arguments: Arguments, stage: int) -> bool:
    """
    Says whether a checkpoint has the relations of the documents.

    Raises:
        `ValueError`: it has not, and is not to be trained on them; or its model and its processor differ.
    """
    relations = DocREIIProcessor.from_pretrained(path).relations
    check_label_map(DocREIIConfig.from_pretrained(path).id2label, relations)
    if relations == corpus.relations:
        return True
    if not (arguments.model.ignore_mismatched_sizes and arguments.training[stage].do_train):
        different = sorted(set(relations) ^ set(corpus.relations)) or "the same relations in another order"
        raise ValueError(
            f"the label map of {path!r} is not that of the documents: {different}; to train it on their relations, "
            "set `ignore_mismatched_sizes`"
        )
    return False


def encode(
    corpus: Corpus,
    split: str,
    processor: DocREIIProcessor,
    args: DataArguments,
    has_labels: bool = True,
    skip_uncounted: bool = False,
) -> Dataset:
    """Encodes a split: what [`DocREIIProcessor`] makes, and the index of each document."""
    relations = corpus.relations

    def encode_batch(batch, indices):
        rows = [dict(zip(batch, values)) for values in zip(*batch.values())]
        documents = [with_relation_ids(row, relations) for row in rows]
        features = processor(documents, return_labels=has_labels, skip_uncounted=skip_uncounted)
        return {**features, "document_index": indices}

    return corpus.splits[split].map(
        encode_batch,
        batched=True,
        batch_size=100,
        with_indices=True,
        num_proc=args.preprocessing_num_workers,
        remove_columns=corpus.splits[split].column_names,
        desc=f"Tokenizing {split}",
    )


def make_trainer(
    model: DocREIIForRelationExtraction,
    processor: DocREIIProcessor,
    corpus: Corpus,
    data_args: DataArguments,
    training_args: DocREIITrainingArguments,
) -> DocREIITrainer:
    """Encodes the documents of training and evaluation and puts a Trainer together."""
    train_dataset, eval_dataset, compute_metrics = None, None, None
    if training_args.do_train:
        train_dataset = encode(corpus, "train", processor, data_args, skip_uncounted=True)
        train_dataset = train_dataset.remove_columns("document_index")
    if "validation" in corpus.splits and (training_args.do_train or training_args.do_eval):
        eval_dataset = encode(corpus, "validation", processor, data_args)
        compute_metrics = make_compute_metrics(
            list(corpus.documents("validation")), corpus.relations, corpus.train_facts, corpus.distant_facts
        )
    return DocREIITrainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        data_collator=DataCollatorForRelationExtraction(processor.tokenizer),
        processing_class=processor,
        compute_metrics=compute_metrics,
    )


def train(trainer: DocREIITrainer, corpus: Corpus, checkpoint: str | None) -> None:
    """Trains, from a checkpoint if there is one, and saves the model, its processor and what was logged."""
    result = trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.args.calibrate_threshold:
        result.metrics["threshold_shift"] = trainer.calibrate_threshold(
            ignored_pairs=ignored_pairs(list(corpus.documents("validation")))
        )
    trainer.save_model()
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    # Stage 2 reads in every process what the first one has written.
    trainer.accelerator.wait_for_everyone()


def find_resumption(training: dict[int, DocREIITrainingArguments]) -> tuple[int, str | None]:
    """
    Finds where to go on.

    Returns:
        `tuple(int, str or None)`: the first stage that is left to train, and the checkpoint to resume it from.

    Raises:
        `ValueError`: there is nothing to resume.
    """
    stages = list(training)
    asked = training[stages[0]].resume_from_checkpoint
    if asked is None or asked.lower() == "false":
        return stages[0], None
    if asked.lower() not in ("true", "last"):
        folders = {stage: Path(args.output_dir).resolve() for stage, args in training.items()}
        inside = [stage for stage, folder in folders.items() if Path(asked).resolve().parent == folder]
        return (inside or stages)[0], asked
    for stage in reversed(stages):
        folder = training[stage].output_dir
        # The last that a stage leaves when it has ended, after its model.
        if stage != stages[-1] and os.path.exists(os.path.join(folder, "trainer_state.json")):
            return stages[-1], None
        checkpoint = get_last_checkpoint(folder) if os.path.isdir(folder) else None
        if checkpoint is not None:
            return stage, checkpoint
    raise ValueError(f"`resume_from_checkpoint`: there is no checkpoint in {training[stages[-1]].output_dir!r}")


def evaluate(trainer: DocREIITrainer, corpus: Corpus) -> None:
    """
    Scores the validation documents, beside the model a baseline that only knows the entity types, and leaves a report
    of what was right and wrong.
    """
    documents = list(corpus.documents("validation"))
    predictions, _, metrics = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
    if "train" in corpus.splits:
        scores = score_facts(TypePairBaseline(corpus.documents("train")).predict(documents), documents)
        metrics |= {f"eval_type_baseline_{name}": scores[name] for name in ("f1", "filtered_f1") if name in scores}
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    trainer.record.add_scores("validation", metrics, prefix="eval_")
    if not trainer.is_world_process_zero():
        return
    names = iteration_names(len(predictions))
    path = Path(trainer.args.output_dir) / "report.html"
    write_error_report(
        path,
        documents,
        {
            name: to_submission(unpack_facts(packed, corpus.relations, len(documents)), documents)
            for name, packed in zip(names, predictions)
        },
        corpus.relation_names,
        corpus.documents("train"),
        heading=f"{trainer.args.output_dir} on the validation documents",
    )
    print(f"\n{iteration_table(metrics, names)}\n\nWhat was right, missed and wrong, document by document: {path}")


def score(corpus: Corpus, data_args: DataArguments) -> None:
    """Scores files of predictions, and prints how they spread or compare."""
    documents = list(corpus.documents("validation"))
    files = [read_submission(path) for path in data_args.score_files]
    facts = (corpus.train_facts, corpus.distant_facts)
    runs = [score_facts(predictions, documents, *facts) for predictions in files]
    for path, scores in zip(data_args.score_files, runs):
        print(f"\n{path}\n{score_table(scores)}")
    if len(runs) > 1:
        print(f"\n{len(runs)} runs\n{runs_table(summarize_runs(runs))}")
    elif data_args.compare_with is None:
        print(f"\n{relation_table(score_relations(files[0], documents), corpus.relation_names)}")
    else:
        others = read_submission(data_args.compare_with)
        comparisons = {
            name: paired_bootstrap(files[0], others, documents, name, train_facts=corpus.train_facts)
            for name in runs[0]
            if name.endswith("f1") and name != "ign_distant_f1"
        }
        paths = f"{data_args.score_files[0]} and {data_args.compare_with}"
        print(f"\n{paths}, 1,000 resamples of the documents\n{comparison_table(comparisons)}")


def predict(trainer: DocREIITrainer, corpus: Corpus, processor: DocREIIProcessor, data_args: DataArguments) -> None:
    """Predicts the test documents, or the validation documents where there are none, and writes the triples."""
    split = corpus.predicted_split
    dataset = encode(corpus, split, processor, data_args, has_labels=False)
    packed = trainer.predict(dataset, metric_key_prefix="predict").predictions[-1]
    if not trainer.is_world_process_zero():
        return
    documents = list(corpus.documents(split))
    facts = unpack_facts(packed, corpus.relations, len(documents))
    predictions = [
        {"title": document["title"], "triples": processor.name_facts(of_document, document)}
        for of_document, document in zip(facts, documents)
    ]
    output_dir = Path(trainer.args.output_dir)
    with atomic_write(output_dir / "predictions.json") as partial:
        partial.write_text(json.dumps(predictions, ensure_ascii=False, indent=1), encoding="utf-8")
    result = to_submission(facts, documents)
    for name in ("result.json", "result.zip"):
        write_submission(output_dir / name, result)
    if split == "test" and any(document["labels"] for document in documents):
        scores = score_facts(result, documents, corpus.train_facts, corpus.distant_facts)
        trainer.save_metrics("predict", {f"predict_{name}": value for name, value in scores.items()})
        trainer.record.add_scores("test", scores)
        print(f"\nThe test documents\n{score_table(scores)}")
    for prediction in predictions[: data_args.num_printed_documents]:
        print(f"\n{prediction['title']}: {len(prediction['triples'])} triples predicted")
        for triple in prediction["triples"][: data_args.num_printed_triples]:
            head, tail = triple["head"]["name"], triple["tail"]["name"]
            print(f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}")
    if trainer.model.config.num_iterations and trainer.model.config.cross_attention == "extended":
        print_explanation(trainer, processor, documents[: data_args.num_printed_documents])
    print(f"\nAll {sum(map(len, facts))} triples of the {split} documents are in {output_dir}/predictions.json")


def extract(trainer: DocREIITrainer, corpus: Corpus, processor: DocREIIProcessor, data_args: DataArguments) -> None:
    """Predicts as [`predict`], shard by shard from disk, and writes the triples as Parquet files."""
    rows = corpus.splits[corpus.predicted_split]
    model, args = trainer.accelerator.unwrap_model(trainer.model), trainer.args
    settings = (data_args.documents_per_shard, args.per_device_eval_batch_size, args.requested_precision.bf16)
    try:
        found = extract_to_parquet(model, processor, rows, data_args.triples_dir, *settings)
    except (DocumentError, FileExistsError) as error:
        raise SystemExit(f"run_docre.py: {error}") from error
    if trainer.is_world_process_zero():
        print(f"\n{data_args.triples_dir}: {found}")


def print_explanation(trainer: DocREIITrainer, processor: DocREIIProcessor, documents: list[dict[str, Any]]) -> None:
    """Prints why one triple was predicted: of those in the documents, one that took the most iterations."""
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    triples = []
    for document in documents:
        inputs = processor(document, return_tensors="pt").to(model.device)
        with torch.no_grad(), trainer.compute_loss_context_manager():
            outputs = model(**inputs, output_attentions=True)
        triples += processor.explain(outputs, [document])[0]
    supported = [triple for triple in triples if triple["support"]]
    if supported:
        print(f"\nWhy, for one of them:\n{describe_explanation(max(supported, key=lambda t: t['iteration']))}")


def publish(trainer: DocREIITrainer, corpus: Corpus, arguments: Arguments) -> None:
    """Writes the model card, and pushes model and card to the Hub if that is asked for."""
    if trainer.is_world_process_zero():
        # A corpus that was predicted in bulk says nothing of the model, and to count it is to read it.
        bulk = None if arguments.data.triples_dir is None else "test"
        trainer.record.describe({split: rows for split, rows in corpus.splits.items() if split != bulk})
    if trainer.args.do_train and len(arguments.training) == 2:
        stage_1 = arguments.training[1]
        state = TrainerState.load_from_json(os.path.join(stage_1.output_dir, TRAINER_STATE_NAME))
        trainer.record.stages[1] = TrainedStage(stage_1, state.log_history)
    if trainer.args.push_to_hub:
        trainer.push_to_hub(**card_kwargs(arguments))
    else:
        trainer.create_model_card(**card_kwargs(arguments))


def keep_off_the_hub(output_dir: Path, triples_dir: str | None = None) -> None:
    """Has the Hub leave out what a run writes beside its model: that of stage 1, and what quotes documents."""
    output_dir.mkdir(parents=True, exist_ok=True)
    path = output_dir / ".gitignore"
    written = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = ["/stage_1/", *(f"/{name}" for name in ("report.html", "predictions.json", "result.json", "result.zip"))]
    if triples_dir is not None and (folder := Path(triples_dir).resolve()).is_relative_to(output_dir.resolve()):
        # With the `.partial` file that a process may leave beside it.
        inside = folder.relative_to(output_dir.resolve())
        names += [f"/{(inside / pattern).as_posix()}" for pattern in ("triples-*.parquet*", ".triples-precision-*")]
    path.write_text("\n".join(dict.fromkeys([*written, *names])) + "\n", encoding="utf-8")


def check_splits(corpus: Corpus, args: DocREIITrainingArguments, data_args: DataArguments) -> None:
    """
    Raises:
        `ValueError`: a step is asked for whose documents were not given, or have no labels.
    """
    is_scored = args.do_eval or (args.do_train and args.calibrate_threshold) or data_args.score_files
    needed = {"train": args.do_train and not data_args.score_files, "validation": is_scored}
    for split in [split for split, is_needed in needed.items() if is_needed]:
        if split not in corpus.splits:
            raise ValueError(f"no {split} documents were given, but the run is to use them: set `{split}_file`")
        if not any(row.get("labels") for row in corpus.splits[split]):
            raise ValueError(f"none of the {split} documents has a label")
    metric = args.metric_for_best_model or ""
    has_filter = any("uncounted" in rows.column_names for rows in corpus.splits.values())
    if args.do_train and "filtered" in metric and not has_filter:
        raise ValueError(f"`metric_for_best_model` is {metric!r}, for which CDR needs a `mesh_tree_file`")
    if args.do_predict and not {"validation", "test"} & set(corpus.splits):
        raise ValueError("no test documents were given, but the run is to predict them: set `test_file`")
    if not (args.do_train or args.do_eval or args.do_predict or data_args.score_files):
        raise ValueError("nothing to do: set `do_train`, `do_eval` or `do_predict`")


def setup_logging(args: DocREIITrainingArguments) -> None:
    """Logs on the main process at the level of the arguments, on the others only warnings."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
    logger.setLevel(logging.INFO if args.should_log else logging.WARNING)
    transformers.utils.logging.set_verbosity(args.get_process_log_level())
    datasets.utils.logging.set_verbosity_warning()


def use_all_cores(args: DocREIITrainingArguments) -> None:
    """Shares the cores among the processes of a CPU run, to each of which `accelerate launch` gives one thread."""
    if args.use_cpu and os.environ.get("OMP_NUM_THREADS") == "1":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def main(argv: list[str] | None = None) -> None:
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv, description=__doc__)
        training = arguments.training
        last_stage = max(training)
        args = training[last_stage]
        setup_logging(args)
        use_all_cores(args)
        with args.main_process_first(desc="reading the documents"):
            corpus = load_corpus(arguments.data)
        check_splits(corpus, args, arguments.data)
        if arguments.data.score_files:
            return score(corpus, arguments.data)
        first_stage, checkpoint = find_resumption(training) if args.do_train else (last_stage, None)
        if args.do_train:
            reuse_precision_of_stages(training, first_stage, checkpoint)
    except ValueError as error:  # DocumentError is one
        raise SystemExit(f"run_docre.py: {error}") from error
    if (args.do_train or args.push_to_hub) and args.should_save:
        keep_off_the_hub(Path(args.output_dir), arguments.data.triples_dir)
    for stage in [stage for stage in training if stage >= first_stage]:
        # Stage 2 starts from what stage 1 has left, whether in this run or before.
        follows = args.do_train and stage == 2 and 1 in training
        path = training[1].output_dir if follows else arguments.model.model_name_or_path
        set_seed(args.seed)
        model, processor = load_model(arguments, stage, path, corpus)
        trainer = make_trainer(model, processor, corpus, arguments.data, training[stage])
        if args.do_train:
            logger.info("stage %d: %s parameters to train", stage, f"{model.num_parameters(only_trainable=True):,}")
            train(trainer, corpus, checkpoint if stage == first_stage else None)
        if args.do_eval:
            evaluate(trainer, corpus)
    if args.do_predict:
        (extract if arguments.data.triples_dir else predict)(trainer, corpus, processor, arguments.data)
    if args.do_train or args.push_to_hub:
        publish(trainer, corpus, arguments)


if __name__ == "__main__":
    main()
