"""The tables of a model card."""

import pytest

from modeling_docre_ii import DocREIIConfig
from modeling_docre_ii.hub.card_tables import option_table


@pytest.mark.parametrize("is_set", [True, False])
def test_options_that_are_not_the_papers_are_named_where_they_are_set(is_set):
    changes = {"entity_salience": True, "document_threshold_weight": 1.5, "document_threshold_offset": -0.254}
    table = option_table(DocREIIConfig(**changes if is_set else {}), None)

    assert "| `pair_encoder` | low_rank_bilinear |" in table
    rows = ["| `entity_salience` | True |", "| `document_threshold_weight` | 1.5 |"]
    rows += ["| `document_threshold_offset` | -0.25 |"]
    assert [row in table for row in rows] == [is_set] * 3
