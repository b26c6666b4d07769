from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_docre_ii import cross_attention
from modeling_docre_ii.cross_attention import NUM_HEADS, ExtendedCrossAttention, PairLayout
from modeling_docre_ii.entity_pairs import EntityPairs


WIDTH = 12
EXACT = {"rtol": 1e-9, "atol": 1e-9}


KINDS = {
    "extended": PairLayout.of_overlapping_pairs,
    "extended, few pairs": PairLayout.of_few_pairs,
    "full": PairLayout.of_all_pairs,
}


def lay_out(mask, kind="extended"):
    return KINDS[kind](EntityPairs.from_mask(mask))


LAYOUTS = {kind: partial(lay_out, kind=kind) for kind in KINDS}


def random_mask(sizes, share, seed):
    """Candidate pairs of documents with the given numbers of entities, padded; an entity may be paired with itself."""
    mask = torch.zeros(len(sizes), max(sizes), max(sizes), dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for document, size in enumerate(sizes):
        mask[document, :size, :size] = torch.rand(size, size, generator=generator) < share
    return mask


def without_diagonal(*sizes):
    mask = random_mask(sizes, 2.0, 0)
    return mask & ~torch.eye(mask.shape[1], dtype=torch.bool)


def bipartite(num_heads, num_tails):
    """The first entities are heads only, the others tails only, as chemicals and diseases in CDR."""
    size = num_heads + num_tails
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[0, :num_heads, num_heads:] = True
    return mask


MASKS = {
    "all pairs of 4 entities": without_diagonal(4),
    "documents of 2, 5, 1 and 4 entities": without_diagonal(2, 5, 1, 4),
    "few candidates": random_mask([6, 3, 5], 0.3, seed=1),
    "about half of the candidates": random_mask([1, 4, 5, 2], 0.5, seed=2),
    "a document without a candidate between two others": random_mask([4, 4, 4], 0.6, seed=3)
    & torch.tensor([True, False, True])[:, None, None],
    "one candidate": without_diagonal(5) & (torch.arange(25) == 7).view(5, 5),
    "two entities": without_diagonal(2),
    "bipartite": bipartite(2, 3),
}


@pytest.fixture
def attention(docre_config, shaken):
    """Makes an attention unit in float64, always the same."""

    def make(width=WIDTH):
        torch.manual_seed(0)
        return shaken(ExtendedCrossAttention(docre_config(inference_hidden_size=width))).double().eval()

    return make


def random_inputs(num_pairs, width=WIDTH, seed=0):
    """X, F and R of the candidate pairs."""
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(3, num_pairs, width, generator=generator, dtype=torch.float64).unbind())


def attend(module, layout, queries, features, relations, output_attentions=False):
    key_value = module.feature_key_value(features) + module.relation_key_value(relations)
    return module(module.query(queries), key_value, layout, output_attentions)


@pytest.mark.parametrize("most_places", [1, 2**17])
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_attention_of_a_pair_is_equations_5_to_7(attention, naive, monkeypatch, kind, name, most_places):
    """With one line and with all lines at once."""
    monkeypatch.setattr(cross_attention, "_MOST_PLACES", most_places)
    module, mask = attention(), MASKS[name]
    inputs = random_inputs(int(mask.sum()))
    output, attentions = attend(module, LAYOUTS[kind](mask), *inputs)

    assert output.shape == (mask.sum(), WIDTH)
    assert attentions is None
    compared = 0
    for rows, *vectors in naive.by_document(mask, *inputs):
        expected, _ = naive.cross_attention(module, *vectors, kind.partition(",")[0])
        torch.testing.assert_close(output[rows], torch.stack(list(expected.values())), **EXACT)
        compared += len(rows)
    assert compared == mask.sum() > 0


@pytest.mark.parametrize("most_places", [1, 2**17])
@pytest.mark.parametrize("name", MASKS)
def test_probabilities_stand_at_the_other_entity_of_the_attended_pair(
    attention, naive, monkeypatch, name, most_places
):
    monkeypatch.setattr(cross_attention, "_MOST_PLACES", most_places)
    module, mask = attention(), MASKS[name]
    inputs = random_inputs(int(mask.sum()))
    _, attentions = attend(module, lay_out(mask), *inputs, output_attentions=True)

    expected = torch.zeros(int(mask.sum()), NUM_HEADS, mask.shape[1], dtype=torch.float64)
    for rows, *vectors in naive.by_document(mask, *inputs):
        _, probabilities = naive.cross_attention(module, *vectors)
        for row, heads in zip(rows, probabilities.values(), strict=True):
            for head, weights in enumerate(heads):
                for other, weight in weights.items():
                    # Heads 1 and 3 run over the tails of a row, heads 2 and 4 over the heads of a column.
                    expected[row, head, other[1] if head in (0, 2) else other[0]] = weight
    # Probabilities are given in float32.
    torch.testing.assert_close(attentions.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(attentions > 0, expected > 0)


def test_probabilities_over_all_pairs_are_in_the_order_of_the_pairs(attention, naive):
    module, mask = attention(), MASKS["documents of 2, 5, 1 and 4 entities"]
    inputs = random_inputs(int(mask.sum()))
    output, attentions = attend(module, lay_out(mask, "full"), *inputs, output_attentions=True)

    assert attentions.shape == (mask.sum(), NUM_HEADS, 20)
    for rows, *vectors in naive.by_document(mask, *inputs):
        _, probabilities = naive.cross_attention(module, *vectors, "full")
        for row, heads in zip(rows, probabilities.values(), strict=True):
            for head, weights in enumerate(heads):
                expected = [weights[other].item() for other in sorted(weights)]
                assert attentions[row, head, : len(rows)].tolist() == pytest.approx(expected, abs=1e-6)
                assert not attentions[row, head, len(rows) :].any()


@pytest.mark.parametrize("most_places, num_pieces", [(1, 4), (31, 4), (32, 2), (64, 1), (2**17, 1)])
def test_lines_are_split_into_pieces_of_few_places(monkeypatch, most_places, num_pieces):
    monkeypatch.setattr(cross_attention, "_MOST_PLACES", most_places)
    layout = lay_out(without_diagonal(4))  # four heads of four lines of four places
    pieces = layout.split()

    assert len(pieces) == num_pieces
    for part in ("queries", "keys", "has_key"):
        assert torch.equal(torch.cat([getattr(piece, part) for piece in pieces], 2), getattr(layout, part))


@pytest.mark.parametrize("kind", LAYOUTS)
def test_output_is_the_same_with_and_without_probabilities(attention, kind):
    module, mask = attention(), MASKS["few candidates"]
    inputs = random_inputs(int(mask.sum()))
    layout = LAYOUTS[kind](mask)

    without, _ = attend(module, layout, *inputs)
    with_probabilities, _ = attend(module, layout, *inputs, output_attentions=True)
    assert torch.equal(without, with_probabilities)


def test_heads_without_a_candidate_give_exactly_zero(attention):
    module, mask = attention(), MASKS["bipartite"]
    inputs = random_inputs(int(mask.sum()))
    with torch.no_grad():
        # The output is then the four heads side by side.
        module.output.weight.copy_(torch.eye(WIDTH))
        module.output.bias.zero_()
    output, attentions = attend(module, lay_out(mask), *inputs, output_attentions=True)
    heads = output.unflatten(-1, (NUM_HEADS, -1))

    # No pair ends in a head s, none begins with a tail o.
    assert not heads[:, 1:3].any() and not attentions[:, 1:3].any()
    assert heads[:, 0].all() and heads[:, 3].all()
    torch.testing.assert_close(attentions[:, [0, 3]].sum(-1), torch.ones(6, 2))


@pytest.mark.parametrize("name", ["bipartite", "one candidate", "few candidates"])
def test_gradients_are_those_of_the_definition_where_lines_are_empty(attention, naive, name):
    module, mask = attention(), MASKS[name]
    inputs = [values.requires_grad_() for values in random_inputs(int(mask.sum()))]
    weights = random_inputs(int(mask.sum()), seed=1)[0]
    output, _ = attend(module, lay_out(mask), *inputs)
    wanted = [*inputs, *module.parameters()]
    ours = torch.autograd.grad((output * weights).sum(), wanted)

    total = 0
    for rows, *vectors in naive.by_document(mask, *inputs):
        expected, _ = naive.cross_attention(module, *vectors)
        total = total + (torch.stack(list(expected.values())) * weights[rows]).sum()
    theirs = torch.autograd.grad(total, wanted)
    for our, their in zip(ours, theirs, strict=True):
        assert our.isfinite().all()
        torch.testing.assert_close(our, their, **EXACT)


@pytest.mark.parametrize("sizes", [[1], [1, 1]])
@pytest.mark.parametrize("output_attentions", [False, True])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_documents_of_one_entity_have_no_pair_to_attend(attention, kind, output_attentions, sizes):
    module, mask = attention(), without_diagonal(*sizes)
    output, attentions = attend(module, LAYOUTS[kind](mask), *random_inputs(0), output_attentions)

    assert output.shape == (0, WIDTH)
    if output_attentions:
        assert attentions.shape == (0, NUM_HEADS, 1)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_no_pair_influences_another_document(attention, kind):
    module, mask = attention(), MASKS["documents of 2, 5, 1 and 4 entities"]
    inputs = random_inputs(int(mask.sum()))
    layout = LAYOUTS[kind](mask)
    output, _ = attend(module, layout, *inputs)
    changed = mask.nonzero(as_tuple=True)[0] == 1
    others = [torch.where(changed[:, None], 100 * values + 1, values) for values in inputs]
    output_of_others, _ = attend(module, layout, *others)

    assert torch.equal(output[~changed], output_of_others[~changed])
    assert (output[changed] != output_of_others[changed]).any(-1).all()


@pytest.mark.parametrize("kind", LAYOUTS)
def test_more_padding_changes_nothing(attention, kind):
    module, mask = attention(), MASKS["about half of the candidates"]
    inputs = random_inputs(int(mask.sum()))
    wider = torch.nn.functional.pad(mask, (0, 3, 0, 3))

    output, _ = attend(module, LAYOUTS[kind](mask), *inputs)
    output_of_wider, _ = attend(module, LAYOUTS[kind](wider), *inputs)
    torch.testing.assert_close(output, output_of_wider, **EXACT)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation gives."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.parametrize("output_attentions", [False, True])
def test_memory_does_not_grow_with_the_cube_of_the_entities_times_the_width(attention, output_attentions):
    size, width = 30, 128
    module, mask = attention(width), without_diagonal(size)
    inputs = random_inputs(int(mask.sum()), width)
    allowed = 4 * size**2 * width + 4 * size**3
    with torch.no_grad(), LargestTensor() as largest:
        attend(module, lay_out(mask), *inputs, output_attentions)
    # What it is to stay clear of: the keys of one head, gathered for every pair.
    with torch.no_grad(), LargestTensor() as gathered:
        keys = torch.zeros(size, size, width // 4)
        keys[torch.arange(size).repeat_interleave(size)]

    assert 0 < largest.numel <= allowed < gathered.numel
