"""
The equations of the paper as plain loops in float64, the reference of the model's tests.

Functions take one document or one pair. States have shape (L, d), attention has shape (heads, M, L), and matrices are
`{(s, o): vector}` of the candidate pairs.
"""

import math

import torch


def linear(module, vector):
    result = module.weight.double() @ vector
    return result if module.bias is None else result + module.bias.double()


def gelu(vector):
    return vector * 0.5 * (1 + torch.erf(vector / math.sqrt(2)))


def entity_vector(states, positions, entities, entity):
    """Computes log sum exp over the mentions of an entity; zeros without a mention."""
    vectors = [states[position] for position, owner in zip(positions, entities, strict=True) if owner == entity]
    if not vectors:
        return torch.zeros_like(states[0])
    return torch.stack([torch.stack(vectors)[:, i].exp().sum().log() for i in range(states.shape[1])])


def entity_attention(attention, entities, entity):
    """The mean over the mentions of the entity, of shape (heads, L); zeros without a mention."""
    rows = [attention[:, mention] for mention, owner in enumerate(entities) if owner == entity]
    return sum(rows) / len(rows) if rows else torch.zeros_like(attention[:, 0])


def context_vector(states, head_attention, tail_attention):
    """Equation 1."""
    heads, length = head_attention.shape
    context, total = torch.zeros_like(states[0]), 0.0
    for token in range(length):
        weight = sum(head_attention[i, token] * tail_attention[i, token] for i in range(heads)) / heads
        context = context + weight * states[token]
        total = total + weight
    return context / total if total > 0 else context


def layer_norm(module, vector):
    mean = vector.sum() / len(vector)
    variance = ((vector - mean) ** 2).sum() / len(vector)
    return (vector - mean) / (variance + module.eps).sqrt() * module.weight.double() + module.bias.double()


def concat_feature(module, head, tail):
    return linear(module.output, gelu(linear(module.intermediate, torch.cat([head, tail]))))


def grouped_bilinear_feature(module, head, tail):
    size = module.block_size
    products = [
        head[start + i] * tail[start + j]
        for start in range(0, len(head), size)
        for i in range(size)
        for j in range(size)
    ]
    return layer_norm(module.layer_norm, linear(module.output, torch.stack(products)).clamp(min=0))


def low_rank_bilinear_feature(module, head, tail):
    product = linear(module.head_factor, head) * linear(module.tail_factor, tail)
    feature = linear(module.output, gelu(linear(module.intermediate, torch.cat([head, tail, product]))))
    return layer_norm(module.layer_norm, feature)


pair_encoder = {
    "concat": concat_feature,
    "grouped_bilinear": grouped_bilinear_feature,
    "low_rank_bilinear": low_rank_bilinear_feature,
}


def side_vector(module, entity, context, document, salience=()):
    """tanh(W [h; c]), W the concatenation of the module's matrices; the document vector is a third input if used, the
    salience of the entity a fourth."""
    matrices, inputs = [module.entity.weight, module.context.weight], [entity, context]
    if module.document is not None:
        matrices, inputs = [*matrices, module.document.weight], [*inputs, document]
    if module.salience is not None:
        matrices, inputs = [*matrices, module.salience.weight], [*inputs, torch.tensor(salience, dtype=torch.float64)]
    weight = torch.cat([matrix.double() for matrix in matrices], dim=1)
    return torch.tanh(weight @ torch.cat(inputs) + module.context.bias.double())


def pair_feature(module, kind, states, attention, positions, entities, head, tail, saliences=((), ())):
    """F_{s,o} of one pair, equations 1 to 3; `positions` and `entities` are lists without padding, `saliences` those
    of head and tail."""
    states, attention = states.double(), attention.double()
    context = context_vector(
        states, entity_attention(attention, entities, head), entity_attention(attention, entities, tail)
    )
    of_head = entity_vector(states, positions, entities, head)
    head_vector = side_vector(module.head, of_head, context, states[0], saliences[0])
    of_tail = entity_vector(states, positions, entities, tail)
    tail_vector = side_vector(module.tail, of_tail, context, states[0], saliences[1])
    return pair_encoder[kind](module.pair_encoder, head_vector, tail_vector)


def attended_pairs(pair, candidates, kind):
    """Returns the pairs that each head of a pair attends to: row s, column s, row o and column o, or all."""
    if kind == "full":
        return [candidates] * 4
    return [[other for other in candidates if other[side] == entity] for entity in pair for side in (0, 1)]


def cross_attention(module, queries, features, relations, kind="extended"):
    """
    Equations 5 to 7 of one document, `{(s, o): vector}` three times -> `{(s, o): output}` and `{(s, o): [{attended
    pair: probability} of each head]}`.
    """
    size = len(module.query.weight) // 4
    # W^K and W^V act on the concatenation M = [F, R].
    weight = torch.cat([module.feature_key_value.weight, module.relation_key_value.weight], dim=1).double()
    keys, values = {}, {}
    for pair in features:
        matrix = torch.cat([features[pair], relations[pair]]).double()
        keys[pair], values[pair] = (weight @ matrix + module.feature_key_value.bias.double()).chunk(2)
    outputs, probabilities = {}, {}
    for pair in queries:
        query, heads, probabilities[pair] = linear(module.query, queries[pair].double()), [], []
        for head, others in enumerate(attended_pairs(pair, list(features), kind)):
            part = slice(head * size, (head + 1) * size)
            exponentials = {other: (query[part] @ keys[other][part] / size**0.5).exp() for other in others}
            total = sum(exponentials.values())
            probabilities[pair].append({other: value / total for other, value in exponentials.items()})
            attended = [probability * values[other][part] for other, probability in probabilities[pair][-1].items()]
            heads.append(sum(attended, torch.zeros(size, dtype=torch.float64)))
        outputs[pair] = linear(module.output, torch.cat(heads))
    return outputs, probabilities


def by_document(pair_mask, *inputs):
    """The rows of each document with a candidate pair, and each of its inputs as `{(s, o): vector}`."""
    documents = {}
    for row, (document, s, o) in enumerate(pair_mask.nonzero().tolist()):
        documents.setdefault(document, {})[s, o] = row
    for rows in documents.values():
        yield list(rows.values()), *({pair: values[row] for pair, row in rows.items()} for values in inputs)


def gate(module, feature, relation):
    """Equations 8 and 9 of one pair."""
    share = 1 / (1 + (-(module.gate.weight @ torch.cat([feature, relation]) + module.gate.bias)).exp())
    return share * feature + (1 - share) * relation


def feed_forward(module, value, fused):
    """Equations 10 and 11 of one pair."""
    hidden = gelu(linear(module.intermediate, fused))
    return layer_norm(module.layer_norm, value + linear(module.output, hidden))


def inference_layer(layer, features, relations, kind="extended"):
    """F_{l+1} and R_{l+1} from F_l and R_l, equations 5 to 11."""
    from_features, _ = cross_attention(layer.feature_attention, features, features, relations, kind)
    from_relations, _ = cross_attention(layer.relation_attention, relations, features, relations, kind)
    if layer.fusion is not None:
        fused = {pair: gate(layer.fusion, from_features[pair], from_relations[pair]) for pair in features}
        from_features = from_relations = fused
    return (
        {p: feed_forward(layer.feature_output, features[p], from_features[p]) for p in features},
        {p: feed_forward(layer.relation_output, relations[p], from_relations[p]) for p in relations},
    )


def read_relations(logits, relation_embedding, temperature=1.0):
    """Returns the classes of one pair that the relation matrix embeds, each with its weight."""
    logits = logits.tolist()
    if relation_embedding == "argmax":
        return {logits.index(max(logits)): 1.0}
    if relation_embedding == "soft":
        weights = {r: 1 / (1 + math.exp((logits[0] - logits[r]) / temperature)) for r in range(1, len(logits))}
        return {0: 1 - max(weights.values()), **weights}
    above = [index for index in range(1, len(logits)) if logits[index] > logits[0]]
    return dict.fromkeys(sorted(sorted(above, key=lambda index: -logits[index])[:4]) or [0], 1.0)


def embed_relations(module, weights):
    """Sums the embeddings of the classes that are read for one pair."""
    return sum(weight * module.relation_embeddings.weight[index] for index, weight in weights.items())


def classify(module, feature, relation, base_logits, adds_base_logits):
    """Equation 12 of one pair, before the sigmoid."""
    logits = linear(module.classifier, torch.cat([feature, relation]))
    return logits + base_logits if adds_base_logits else logits


def iterations(module, config, features, base_logits):
    """Returns logits and input relations of the K iterations, as lists of `{(s, o): ...}`."""
    if len(next(iter(features.values()))) != config.inference_hidden_size:
        features = {pair: linear(module.feature_projection, vector) for pair, vector in features.items()}
    logits, all_logits, all_relations = base_logits, [], []
    for _ in range(config.num_iterations):
        reading = config.relation_embedding, config.relation_temperature
        classes = {pair: read_relations(logits[pair], *reading) for pair in logits}
        top_features = features
        top_relations = {pair: embed_relations(module, classes[pair]) for pair in classes}
        for layer in module.layers:
            top_features, top_relations = inference_layer(layer, top_features, top_relations, config.cross_attention)
        previous, logits = logits, {}
        for pair in previous:
            matrices = top_features[pair], top_relations[pair]
            logits[pair] = classify(module, *matrices, base_logits[pair], config.add_base_logits)
            if config.iteration_update == "accumulate":
                logits[pair] = previous[pair] + logits[pair]
        all_logits.append(logits)
        all_relations.append(classes)
    return all_logits, all_relations
