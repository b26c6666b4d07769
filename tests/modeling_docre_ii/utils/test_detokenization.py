"""Tokens become text as people write it, and every token keeps its characters."""

import pytest

from modeling_docre_ii.utils.detokenization import detokenize, join_by_spaces


@pytest.mark.parametrize(
    "tokens, text",
    [
        ('Ada , " the first programmer " ( 1815–52 ) , lived .', 'Ada, "the first programmer" (1815–52), lived.'),
        ("post - punk and / or 1995 – 1999 , Paris – Rome", "post-punk and/or 1995–1999, Paris – Rome"),
        ("The band 's hit did n't sell ; Europe ’s did", "The band's hit didn't sell; Europe’s did"),
        ("the boys ' team said ' no ' [ sic ] .", "the boys' team said 'no' [sic]."),
        ("“ Yes ” costs $ 5 or 3 % : see e.g. .NET ( ; 589 )", "“Yes” costs $5 or 3%: see e.g. .NET (; 589)"),
        ('He said : " No . "', 'He said: "No."'),
    ],
)
def test_text_as_people_write_it(tokens, text):
    assert detokenize([tokens.split()])[0] == text


def test_sentences_are_joined_by_a_space():
    sentences = [["Yes", ",", '"', "no"], [], ['"', "Ada", '"', "\xa0", "left", "."]]

    assert detokenize(sentences)[0] == 'Yes, "no "Ada"\xa0left.'
    assert join_by_spaces(sentences)[0] == 'Yes , " no " Ada " \xa0 left .'
    assert detokenize([]) == ("", [])


@pytest.mark.parametrize("join", [detokenize, join_by_spaces])
def test_spans_are_the_tokens(join, sample_documents):
    for document in sample_documents["train"]:
        text, spans = join(document["sents"])

        assert [[text[start:end] for start, end in row] for row in spans] == document["sents"]
        assert "".join(text.split()) == "".join("".join(token for row in document["sents"] for token in row).split())
        assert (" ," in text) == (join is join_by_spaces)
