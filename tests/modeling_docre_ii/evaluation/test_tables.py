from modeling_docre_ii.evaluation.tables import (
    choice_of_iterations,
    comparison_table,
    iteration_table,
    relation_table,
    runs_table,
    score_table,
)


def cells(table):
    """The lines of a table, cut at two spaces and more, whose columns end below each other."""
    lines = table.splitlines()
    widest = max(map(len, lines))
    # A cell at the end of a line may be empty.
    assert {len(line) for line in lines if not line.startswith("relations frequent")} == {widest}
    assert not any(line.endswith(" ") for line in lines)
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_scores_are_named_and_ign_has_the_plain_recall():
    scores = {"f1": 50.0, "precision": 60.0, "recall": 42.857, "ign_f1": 40.0, "ign_precision": 37.5}
    assert cells(score_table(scores)) == [
        ["F1", "precision", "recall"],
        ["all facts", "50.00", "60.00", "42.86"],
        ["Ign, without facts of the training set", "40.00", "37.50", "42.86"],
    ]


def test_scores_from_raw_text_end_with_shares():
    scores = {"cluster_f1": 40.0, "cluster_precision": 50.0, "cluster_recall": 100 / 3, "facts_found": 12.5}
    assert cells(score_table(scores)) == [
        ["F1", "precision", "recall"],
        ["entities", "40.00", "50.00", "33.33"],
        ["gold facts with both entities", "12.50"],
    ]


def test_relations_go_by_name_and_id():
    row = {
        "relation": "P17",
        "f1": 50.0,
        "precision": 100.0,
        "recall": 33.333,
        "correct": 1,
        "predicted": 1,
        "gold": 3,
    }
    other = {"relation": "X", "f1": 0.0, "precision": 0.0, "recall": 0.0, "correct": 0, "predicted": 2, "gold": 0}
    table = cells(relation_table([row, other], {"P17": "country"}))
    assert table[1:] == [
        ["country (P17)", "50.00", "100.00", "33.33", "1", "1", "3"],
        ["X (X)", "0.00", "0.00", "0.00", "0", "2", "0"],
    ]


def relation_row(name, predicted, gold):
    zeros = dict.fromkeys(("f1", "precision", "recall", "correct"), 0)
    return {"relation": name, "predicted": predicted, "gold": gold, **zeros}


def test_relations_that_were_never_predicted_are_summed_up():
    rows = [relation_row(f"P{index}", index % 2, 100 - index) for index in range(14)]
    lines = relation_table(rows, {"P0": "creator"}, max_rows=3).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["P1", "P3", "P5"]
    # 100 + 98 + ... + 88 of 100 + 99 + ... + 87 facts.
    assert lines[4:] == [
        "and 4 more predicted relations",
        "never predicted: 7 relations with 658 of 1,309 facts: creator (100), P2 (98), P4 (96), P6 (94), P8 (92), ...",
    ]
    assert len(relation_table(rows, {}).splitlines()) == 1 + 7 + 1, "no limit, and the summary"
    assert len(relation_table(rows[1:2], {}).splitlines()) == 2


def test_one_relation_is_singular():
    rows = [relation_row("A", 1, 9), relation_row("B", 1, 8), relation_row("C", 0, 1)]
    lines = relation_table(rows, {}, max_rows=1).splitlines()
    assert lines[2:] == ["and 1 more predicted relation", "never predicted: 1 relation with 1 of 18 facts: C (1)"]


def test_single_run_has_no_deviation():
    summary = {"f1": {"mean": 50.0, "std": None, "runs": 1}, "precision": {"mean": 1.0, "std": None, "runs": 1}}
    assert cells(runs_table(summary))[1:] == [["all facts", "50.00", "1"]]


def test_comparison_shows_the_sign_of_the_difference():
    result = {"score": 50.0, "other_score": 51.5, "difference": -1.5, "low": -3.0, "high": 0.25, "p_value": 0.0421}
    (row,) = cells(comparison_table({"intra_f1": result}))[1:]
    assert row == ["intra-sentence", "50.00", "51.50", "-1.50", "-3.00 to +0.25", "0.042"]


def test_iterations_stand_side_by_side_with_the_filter_and_the_baseline():
    metrics = {"eval_type_baseline_f1": 30.0, "eval_type_baseline_filtered_f1": 31.0, "eval_filtered_f1": 54.0}
    for name, start in (("base", 50.0), ("iteration_1", 53.0)):
        metrics |= {f"eval_{name}_f1": start, f"eval_{name}_filtered_f1": start + 1}
        metrics[f"eval_{name}_calibrated_f1"] = start + 2
        metrics[f"eval_{name}_cross_calibrated_f1"] = start + 1.5
        metrics[f"eval_{name}_infer_cross_calibrated_f1"] = start - 9
    titles = ["own threshold", "filtered", "filtered, best threshold", "filtered, held-out threshold"]
    assert cells(iteration_table(metrics, ["base", "iteration_1"])) == [
        ["F1 on the validation documents", *titles, "Infer, held-out threshold"],
        ["base", "50.00", "51.00", "52.00", "51.50", "41.00"],
        ["iteration_1", "53.00", "54.00", "55.00", "54.50", "44.00"],
        ["relations frequent for the entity types", "30.00", "31.00"],
    ]


def test_base_alone_has_one_row():
    table = cells(iteration_table({"eval_f1": 10.0, "eval_calibrated_f1": 12.5}, ["base"]))
    expected = [["F1 on the validation documents", "own threshold", "best threshold"], ["base", "10.00", "12.50"]]
    assert table == expected


def test_choice_of_iterations_names_the_score_of_each():
    metrics = {"train_loss": 1.0, "base_calibrated_f1": 57.256, "iteration_1_calibrated_f1": 57.4}
    said = "F1 at the best threshold 57.26 (base), 57.40 (iteration 1)"
    assert choice_of_iterations(metrics | {"num_iterations": 1}) == f"kept 1 of 1 iterations: {said}"
    own = {"num_iterations": 0, "iteration_1_own_f1": 57.1}
    assert choice_of_iterations(metrics | own) == f"kept none of 1 iterations: {said}; calibrated 57.10 (iteration 1)"
    assert choice_of_iterations(metrics | {"num_iterations": 0}) == f"kept none of 1 iterations: {said}"
