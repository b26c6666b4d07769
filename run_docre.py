#!/usr/bin/env python
"""
Train, evaluate and predict with DocRE-II.

    accelerate launch run_docre.py configuration/quickstart.yaml
    accelerate launch run_docre.py configuration/quickstart.yaml --num_train_epochs 30 --seed 1
    python run_docre.py --help

The configuration file (YAML or JSON) holds any of the arguments below; arguments on the command line override it.
`--help` shows the usual arguments, `--help-all` also the rest of transformers' TrainingArguments.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from dataset_scripts.corpus import Corpus
from modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
    DocumentError,
    TypePairBaseline,
    extract_to_parquet,
    score_facts,
    to_submission,
    write_submission,
)
from modeling_docre_ii.cli.arguments import Arguments, DataArguments
from modeling_docre_ii.cli.corpora import check_metrics, check_splits, check_steps, read_corpus
from modeling_docre_ii.cli.cross_fitting import check_folds, finish_fold, training_documents
from modeling_docre_ii.cli.mention_model import check_mention_arguments, train_mentions
from modeling_docre_ii.cli.parsing import parse_arguments, short_usage
from modeling_docre_ii.cli.predictions import print_explanation, print_triples, write_predictions
from modeling_docre_ii.cli.process_setup import logger, one_line_errors, setup_logging, use_all_cores
from modeling_docre_ii.cli.progress import shorten_logs
from modeling_docre_ii.cli.publishing import card_kwargs, describe_corpus, reserve_repository
from modeling_docre_ii.cli.reports import write_report
from modeling_docre_ii.cli.run_record import RunRecord, open_run
from modeling_docre_ii.cli.scoring import print_scores
from modeling_docre_ii.cli.stages import Stage, stages_of
from modeling_docre_ii.cli.starting_model import load_config, load_model
from modeling_docre_ii.decoding import NonFiniteLogitsError
from modeling_docre_ii.evaluation.tables import (
    choice_of_iterations,
    comparison_table,
    iteration_names,
    iteration_table,
    score_table,
)
from modeling_docre_ii.evidence import evidence_source
from modeling_docre_ii.hub.excluded_files import keep_off_the_hub
from modeling_docre_ii.training.distillation import DistilledDocuments
from modeling_docre_ii.training.encoding import EncodedDocuments, encode_dataset
from modeling_docre_ii.training.metrics import gain_over_base, remove_results
from modeling_docre_ii.training.predictions import save_predictions, unpack_with_evidence
from modeling_docre_ii.training.stage_record import record_stage
from modeling_docre_ii.utils.folder_lock import lock_folder
from modeling_docre_ii.utils.wording import counted


FINISHED = (
    "%s: this run is finished, there is nothing left to do. To train it again, add `--overwrite_output_dir true`; to "
    "use its model, `--do_train false --model_name_or_path %s`"
)


def main(argv: list[str] | None = None, prog: str = "run_docre.py") -> None:
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        raise SystemExit(short_usage(prog))
    # The folder is locked until the run ends.
    with ExitStack() as locks:
        # An ImportError names a package that an argument needs, such as DeepSpeed.
        with one_line_errors(prog, ValueError, OSError, ImportError):
            arguments = parse_arguments(argv, __doc__, prog)
            args, data_args = arguments.last, arguments.data
            setup_logging(args.should_log, args.get_process_log_level())
            if args.use_cpu:
                use_all_cores()
            if data_args.score_files:
                return print_scores(read_corpus(data_args), data_args)
            check_steps(args)
            # Reading the documents can take minutes, so a mistyped model is an error before.
            config = load_config(arguments.model.model_name_or_path)
            check_mention_arguments(arguments)
            # An extraction locks its folder itself.
            if args.should_save and args.output_dir != data_args.triples_dir:
                locks.enter_context(lock_folder(args.output_dir))
            with args.main_process_first(desc="reading the documents"):
                corpus = read_corpus(data_args)
                for stage_args in arguments.training.values():
                    check_splits(corpus, stage_args)
                check_metrics(arguments, corpus, config)
                check_folds(arguments, corpus)
                record = open_run(arguments, corpus) if args.do_train else None
            if record is not None and record.is_finished:
                return logger.info(FINISHED, args.output_dir, args.output_dir)
            finished = (record.finished_stages, record.finished_folds) if record else ()
            stages = stages_of(arguments, *finished)
            if (args.do_train or args.push_to_hub) and args.should_save:
                keep_off_the_hub(Path(args.output_dir), data_args.triples_dir)
            if args.push_to_hub and args.should_save:
                reserve_repository(args)
        run(arguments, stages, corpus, record, prog)


def run(arguments: Arguments, stages: list[Stage], corpus: Corpus, record: RunRecord | None, prog: str) -> None:
    """Trains the stages, evaluates, predicts and publishes."""
    args, data_args = arguments.last, arguments.data
    for stage in stages:
        with one_line_errors(prog, ValueError, OSError, StrictDataclassError):
            set_seed(stage.args.seed)
            model, processor = load_model(arguments, stage, corpus)
            evidence_source(data_args.evidence, model.config)
            trainer = make_trainer(model, processor, corpus, arguments, stage)
            if args.do_predict and data_args.triples_dir is None:
                # A malformed document would otherwise end the run after the training.
                encode(corpus, corpus.predicted_split, processor, data_args, stage.args)
        with one_line_errors(prog, OSError, NonFiniteLogitsError):
            if args.do_train:
                num_parameters = model.num_parameters(only_trainable=True)
                logger.info("%s: %s parameters to train", stage, f"{num_parameters:,}")
            if stage.fold is not None:
                trainer.train(resume_from_checkpoint=stage.checkpoint)
                encoded = encode(corpus, "train", processor, data_args, stage.args)
                finish_fold(trainer, encoded, stage.fold, arguments.cross_fit_folds)
                if record is not None and args.should_save:
                    record.finish_fold(stage.fold, args.output_dir)
                continue
            if args.do_train:
                train(trainer, stage.checkpoint)
            if args.do_eval:
                evaluate(trainer, corpus, data_args.evidence)
            # Last, as it lists the files of the stage, also those of the evaluation.
            if record is not None and args.should_save:
                record.finish_stage(stage.number, stage.args.output_dir, args.output_dir)
    with one_line_errors(prog, OSError, DocumentError, NonFiniteLogitsError):
        if args.do_predict and data_args.triples_dir is not None:
            extract(trainer, corpus, processor, data_args.triples_dir, data_args)
        elif args.do_predict:
            predict(trainer, corpus, processor, data_args)
        if args.do_train and arguments.mention_model is not None:
            trainer.save_metrics("mention", train_mentions(arguments, corpus))
        if args.do_train or args.push_to_hub:
            publish(trainer, corpus, arguments)
        if record is not None and args.should_save:
            record.finish(args.output_dir)


def encode(
    corpus: Corpus,
    split: str,
    processor: DocREIIProcessor,
    data_args: DataArguments,
    training_args: DocREIITrainingArguments,
) -> EncodedDocuments:
    """Encodes a split in the main process. The other processes read its cache."""
    num_proc, for_training = data_args.preprocessing_num_workers, split == "train"
    rows = corpus.taught_rows if for_training and data_args.teacher_file else corpus.splits[split]
    with training_args.main_process_first(desc="encoding the documents"):
        return encode_dataset(rows, processor, for_training, num_proc, corpus.is_checked)


def make_trainer(
    model: DocREIIForRelationExtraction,
    processor: DocREIIProcessor,
    corpus: Corpus,
    arguments: Arguments,
    stage: Stage,
) -> DocREIITrainer:
    """Makes the Trainer of a stage, with its encoded documents."""
    data_args, training_args = arguments.data, stage.args
    data: dict[str, Any] = {"train_facts": corpus.train_facts, "distant_facts": corpus.distant_facts}
    if training_args.do_train:
        encoded = encode(corpus, "train", processor, data_args, training_args)
        if data_args.teacher_file:
            num_labeled = len(corpus.splits["train"])
            candidates = (processor.relations, processor.candidate_types)
            encoded = DistilledDocuments(encoded, num_labeled, data_args.teacher_file, *candidates)
        data["train_dataset"] = training_documents(encoded, stage, arguments)
    if stage.fold is None and "validation" in corpus.splits and (training_args.do_train or training_args.do_eval):
        data["eval_dataset"] = encode(corpus, "validation", processor, data_args, training_args)
    trainer = DocREIITrainer(model=model, args=training_args, processing_class=processor, **data)
    shorten_logs(trainer)
    return trainer


def train(trainer: DocREIITrainer, checkpoint: str | None) -> None:
    """Trains a stage, or resumes it, and saves model, processor and logs."""
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    if trainer.args.calibrate_iterations:
        logger.info(choice_of_iterations(result.metrics))
    logger.info("saved the model in %s", trainer.args.output_dir)
    # Every process of stage 2 loads the model that the main process saves here.
    trainer.accelerator.wait_for_everyone()


def evaluate(trainer: DocREIITrainer, corpus: Corpus, evidence: str | None = None) -> None:
    """
    Scores the model on the validation documents and writes a report of its triples.

    A baseline that only knows the entity types is scored beside it, and the gain of the last iteration over the base
    module is tested, each at its held-out thresholds.
    """
    documents = trainer.eval_dataset.documents
    predictions, _, metrics = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
    if "train" in corpus.splits:
        scores = score_facts(TypePairBaseline(corpus.documents("train")).predict(documents), documents)
        metrics |= {f"eval_type_baseline_{name}": scores[name] for name in ("f1", "filtered_f1") if name in scores}
    gains = gain_over_base(predictions, documents, corpus.relations) if len(predictions) > 1 else {}
    for name, gain in gains.items():
        prefix = f"eval_{name.removesuffix('f1')}gain"
        metrics |= {prefix: gain["difference"]}
        metrics |= {f"{prefix}_{key}": gain[key] for key in ("low", "high", "p_value")}
    trainer.save_metrics("eval", metrics)
    trainer.record.add_scores("validation", metrics, prefix="eval_")
    if not trainer.is_world_process_zero():
        return
    save_predictions(Path(trainer.args.output_dir) / "validation_predictions.npz", predictions, documents)
    path = write_report(trainer.args.output_dir, corpus, "validation", documents, predictions, evidence)
    table = iteration_table(metrics, iteration_names(len(predictions)))
    print(f"\n{score_table(trainer.record.scores['validation'])}\n\n{table}")
    if gains:
        print(f"\nLast iteration and base module at held-out thresholds, 1,000 resamples\n{comparison_table(gains)}")
    print(f"\nCorrect, wrong and missed triples by document: {path}")


def predict(trainer: DocREIITrainer, corpus: Corpus, processor: DocREIIProcessor, data_args: DataArguments) -> None:
    """
    Predicts the test documents, or else the validation documents.

    It writes the triples. Test documents with labels are scored.
    """
    split, output_dir = corpus.predicted_split, Path(trainer.args.output_dir)
    dataset = encode(corpus, split, processor, data_args, trainer.args)
    packed, _, metrics = trainer.predict(dataset, metric_key_prefix="predict")
    if not trainer.is_world_process_zero():
        return
    documents = dataset.documents
    facts = unpack_with_evidence(packed[-1], corpus.relations, documents, data_args.evidence)
    predictions = [
        {"title": document["title"], "triples": processor.name_facts(of_document, document)}
        for document, of_document in zip(documents, facts)
    ]
    write_predictions(output_dir / "predictions.json", predictions)
    result = to_submission(facts, documents)
    for name in ("result.json", "result.zip"):
        write_submission(output_dir / name, result)
    if split == "test" and dataset.has_labels:
        trainer.save_metrics("predict", metrics)
        save_predictions(output_dir / "test_predictions.npz", packed, documents)
        trainer.record.add_scores("test", metrics, prefix="predict_")
        print(f"\nThe test documents\n{score_table(trainer.record.scores['test'])}")
    else:
        # The folder may have those of documents that were predicted before.
        remove_results(output_dir, "predict")
        (output_dir / "test_predictions.npz").unlink(missing_ok=True)
    print_triples(predictions, data_args.num_printed_documents, data_args.num_printed_triples)
    print_explanation(trainer, processor, documents[: data_args.num_printed_documents])
    triples = counted(len(result), "triple")
    print(f"\n{triples} of the {split} documents: {output_dir}/predictions.json, for scoring: result.json")
    if split == "test" or not trainer.args.do_eval:
        report = write_report(output_dir, corpus, split, documents, packed, data_args.evidence)
        print(f"Triples beside their text: {report}")


def extract(
    trainer: DocREIITrainer, corpus: Corpus, processor: DocREIIProcessor, folder: str, data_args: DataArguments
) -> None:
    """Predicts the same documents shard by shard into Parquet files."""
    model, args = trainer.accelerator.unwrap_model(trainer.model), trainer.args
    found = extract_to_parquet(
        model,
        processor,
        corpus.splits[corpus.predicted_split],
        folder,
        documents_per_shard=data_args.documents_per_shard,
        batch_size=args.per_device_eval_batch_size,
        bf16=args.requested_precision.bf16,
        evidence=data_args.evidence,
    )
    if trainer.is_world_process_zero():
        print(f"\n{folder}: {found}")


def publish(trainer: DocREIITrainer, corpus: Corpus, arguments: Arguments) -> None:
    """Writes the model card, and pushes model and card to the Hub with `push_to_hub`."""
    if trainer.is_world_process_zero():
        # Documents of a bulk extraction are not described: counting them would read them all.
        bulk = None if arguments.data.triples_dir is None else "test"
        trainer.record.count({split: rows for split, rows in corpus.splits.items() if split != bulk})
    trainer.record.corpus = describe_corpus(arguments.data)
    if trainer.args.do_train and len(arguments.training) == 2:
        args = arguments.training[1]
        state = TrainerState.load_from_json(os.path.join(args.output_dir, TRAINER_STATE_NAME))
        trainer.record.stages[1] = record_stage(args, state.log_history)
    write_card = trainer.push_to_hub if trainer.args.push_to_hub else trainer.create_model_card
    write_card(**card_kwargs(arguments))
    if trainer.pushes.failures:
        logger.warning(trainer.pushes.summary())
    logger.info("model card: %s", os.path.join(trainer.args.output_dir, "README.md"))


if __name__ == "__main__":
    main()
