"""`docre-ii evidence`: the rule on real documents against loops, and a model on the same facts."""

import re

import pytest

from modeling_docre_ii import DocREIIForRelationExtraction
from modeling_docre_ii.cli.evidence import main
from tests.hub_model import make_model, make_processor


DOCUMENTS = ["--dataset_name", "re_docred", "--validation_file", "examples/re_docred_sample/dev.json"]


def rule_scores(documents):
    """F1, precision and recall of the rule over all annotated facts."""
    correct = predicted = gold = 0
    for document in documents:
        for label in document["labels"]:
            if not label["evidence"]:
                continue
            head, tail = ({m["sent_id"] for m in document["vertexSet"][label[side]]} for side in ("h", "t"))
            found = [sentence for sentence in range(len(document["sents"])) if sentence in head and sentence in tail]
            found = found or sorted({min(head), min(tail)})
            correct += sum(sentence in label["evidence"] for sentence in found)
            predicted += len(found)
            gold += len(label["evidence"])
    return [f"{100 * value:.2f}" for value in (2 * correct / (predicted + gold), correct / predicted, correct / gold)]


@pytest.mark.usefixtures("in_the_repository")
def test_rule_on_the_sample(sample_documents, capsys):
    main(DOCUMENTS)
    printed = capsys.readouterr().out
    annotated = sum(bool(label["evidence"]) for document in sample_documents["dev"] for label in document["labels"])

    assert f"evidence, relations given: {annotated} annotated facts" in printed
    (row,) = [line.split() for line in printed.splitlines() if line.startswith("rule ")]
    assert row[1:] == rule_scores(sample_documents["dev"])


@pytest.mark.usefixtures("in_the_repository")
def test_model_on_the_same_facts(sample_documents, tmp_path, capsys):
    processor = make_processor(sample_documents["dev"])
    model = make_model(processor)
    assert isinstance(model, DocREIIForRelationExtraction)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    main([*DOCUMENTS, "--max_eval_documents", "4", "--checkpoint", str(tmp_path), "--batch_size", "3"])
    tables = capsys.readouterr().out.strip().split("\n\n")

    assert [table.split(":")[0] for table in tables] == [
        "evidence, relations given",
        "evidence, facts that the model predicts",
    ]
    rows = {line.rsplit(maxsplit=3)[0]: line.split()[-3:] for line in tables[0].splitlines()[1:]}
    assert rows["rule"] == rule_scores(sample_documents["dev"][:4])
    at = next(row for name, row in rows.items() if name.startswith("rule and model, share above 0.4"))
    best = next(row for name, row in rows.items() if name.startswith("rule and model, best"))
    assert float(best[0]) >= float(at[0]) > 0
    assert float(at[2]) >= float(rows["rule"][2]), "the model only adds sentences"


@pytest.mark.usefixtures("in_the_repository")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "docre-ii evidence: no documents were given"),
        ([*DOCUMENTS, "--chekpoint", "x"], "unknown argument '--chekpoint', did you mean '--checkpoint'?"),
        ([*DOCUMENTS, "--batch_size", "0"], "`batch_size` must be at least 1"),
        ([*DOCUMENTS, "--checkpoint", "no_such_folder"], "no_such_folder"),
    ],
)
def test_errors_are_one_line(arguments, message):
    with pytest.raises(SystemExit, match=re.escape(message)) as error:
        main(arguments)
    assert "\n" not in str(error.value)
