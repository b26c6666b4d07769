"""The inference module: layers of feature- and relation-level inference, and the iteration (section 2.2)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig
from .cross_attention import ExtendedCrossAttention, PairLayout


class Projections(NamedTuple):
    """
    One input of an inference layer, F or R, with all that the layer makes of it alone.

    Args:
        value (`torch.FloatTensor` of shape `(rows, width)`):
            The input itself.
        query (`torch.FloatTensor` of shape `(rows, width)`):
            Queries of the attention unit of this input.
        feature_key_value, relation_key_value (`torch.FloatTensor` of shape `(rows, 2 * width)`):
            Its share in the keys and values of the feature-level and of the relation-level unit.
    """

    value: torch.Tensor
    query: torch.Tensor
    feature_key_value: torch.Tensor
    relation_key_value: torch.Tensor

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Projections":
        return Projections(*map(function, self))

    def select(self, rows: torch.Tensor | slice) -> "Projections":
        return self.map(lambda values: values[rows])


class FusionGate(nn.Module):
    """s = Sigmoid([F~, R~] W_g + b_g), M~ = s * F~ + (1 - s) * R~ (equations 8 and 9): `(num_pairs, width)` twice ->
    `(num_pairs, width)`."""

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.gate = nn.Linear(2 * config.inference_hidden_size, config.inference_hidden_size)

    def forward(self, features: torch.Tensor, relations: torch.Tensor) -> torch.Tensor:
        share = self.gate(torch.cat([features, relations], dim=-1)).sigmoid()
        return share * features + (1 - share) * relations


class InferenceFeedForward(nn.Module):
    """LayerNorm(X + FNN(M~)), equations 10 and 11: `(num_pairs, width)` twice -> `(num_pairs, width)`."""

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.intermediate = nn.Linear(config.inference_hidden_size, config.inference_intermediate_size)
        self.output = nn.Linear(config.inference_intermediate_size, config.inference_hidden_size)
        self.dropout = nn.Dropout(config.inference_dropout)
        self.layer_norm = nn.LayerNorm(config.inference_hidden_size)

    def forward(self, value: torch.Tensor, fused: torch.Tensor) -> torch.Tensor:
        hidden = self.output(nn.functional.gelu(self.intermediate(fused)))
        return self.layer_norm(value + self.dropout(hidden))


class InferenceLayer(nn.Module):
    """
    One inference layer: two ECA units, the fusion gate between them, and an FNN for F and one for R (equations 5 to
    11).

    Args:
        config ([`DocREIIConfig`]):
            Sizes; without `use_fusion`, each FNN is given the output of its own attention unit.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.feature_attention = ExtendedCrossAttention(config)
        self.relation_attention = ExtendedCrossAttention(config)
        self.fusion = FusionGate(config) if config.use_fusion else None
        self.feature_output = InferenceFeedForward(config)
        self.relation_output = InferenceFeedForward(config)

    def project_features(self, features: torch.Tensor) -> Projections:
        """What the layer makes of F_l alone: `(num_pairs, width)` -> [`Projections`] of `num_pairs` rows."""
        return Projections(
            value=features,
            query=self.feature_attention.query(features),
            feature_key_value=self.feature_attention.feature_key_value(features),
            relation_key_value=self.relation_attention.feature_key_value(features),
        )

    def project_relations(self, relations: torch.Tensor) -> Projections:
        """What the layer makes of R_l alone, linear in it: `(rows, width)` -> [`Projections`] of as many rows: pairs,
        or the classes of the table of embeddings."""
        return Projections(
            value=relations,
            query=self.relation_attention.query(relations),
            feature_key_value=self.feature_attention.relation_key_value(relations),
            relation_key_value=self.relation_attention.relation_key_value(relations),
        )

    def forward(
        self, features: Projections, relations: Projections, layout: PairLayout, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """
        Args:
            features, relations ([`Projections`] of `num_pairs` rows):
                F_l and R_l of the candidate pairs.
            layout ([`PairLayout`]):
                Which pairs attend to which.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether to return the attention of both units.

        Returns:
            `tuple(torch.FloatTensor)`: F_{l+1} and R_{l+1}, of shape `(num_pairs, width)`, and the probabilities of
            shape `(num_pairs, 2, 4, line_length)` or `None`.
        """
        from_features, feature_probabilities = self.feature_attention(
            features.query, features.feature_key_value + relations.feature_key_value, layout, output_attentions
        )
        from_relations, relation_probabilities = self.relation_attention(
            relations.query, features.relation_key_value + relations.relation_key_value, layout, output_attentions
        )
        if self.fusion is not None:
            from_features = from_relations = self.fusion(from_features, from_relations)
        attentions = torch.stack([feature_probabilities, relation_probabilities], 1) if output_attentions else None
        return (
            self.feature_output(features.value, from_features),
            self.relation_output(relations.value, from_relations),
            attentions,
        )


class InferenceOutput(NamedTuple):
    """
    What the iteration gives.

    Args:
        logits (`tuple(torch.FloatTensor)`, one of shape `(num_pairs, num_labels)` an iteration):
            Relation logits P^(1), ..., P^(K) before the sigmoid.
        attentions (`tuple(torch.FloatTensor)`, one an iteration, or `None`):
            Attention probabilities of all layers, of shape `(num_pairs, num_layers, 2, 4, line_length)`: units
            feature and relation level, heads row s, column s, row o, column o.
    """

    logits: tuple[torch.Tensor, ...]
    attentions: tuple[torch.Tensor, ...] | None


class InferenceModule(nn.Module):
    r"""
    Refines relation predictions of entity pairs from their feature vectors and the predictions themselves
    (section 2.2). It knows nothing of the base module but its feature matrix and its logits.

    Args:
        config ([`DocREIIConfig`]):
            Sizes and variants.
        feature_size (`int`):
            Width of the feature vectors it is given.
    """

    def __init__(self, config: DocREIIConfig, feature_size: int):
        super().__init__()
        width = config.inference_hidden_size
        self.num_iterations = config.num_iterations
        self.accumulates = config.iteration_update == "accumulate"
        self.adds_base_logits = config.add_base_logits
        self.relation_embedding = config.relation_embedding
        self.cross_attention = config.cross_attention
        self.feature_projection = nn.Identity() if feature_size == width else nn.Linear(feature_size, width)
        self.relation_embeddings = nn.Embedding(config.num_labels, width)
        self.layers = nn.ModuleList([InferenceLayer(config) for _ in range(config.num_inference_layers)])
        self.dropout = nn.Dropout(config.inference_dropout)
        self.classifier = nn.Linear(2 * width, config.num_labels)

    def read_relations(self, logits: torch.Tensor) -> torch.Tensor:
        """
        The relations of each pair that its entry in the relation matrix embeds.

        Args:
            logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
                Relation logits, the threshold class first.

        Returns:
            `torch.BoolTensor` of shape `(num_pairs, num_labels)`: the class with the highest logit (`"argmax"`, the
            paper), or all relations above the threshold class (`"multi_label"`, the released code); class 0 where
            there is none.
        """
        if self.relation_embedding == "argmax":
            return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
        relations = logits > logits[:, :1]
        relations[:, 0] = ~relations.any(-1)
        return relations

    def layout(self, pair_mask: torch.Tensor) -> PairLayout:
        """Which pairs attend to which, for candidate pairs of shape `(batch_size, num_entities, num_entities)`."""
        if self.cross_attention == "extended":
            return PairLayout.of_overlapping_pairs(pair_mask)
        return PairLayout.of_all_pairs(pair_mask)

    def project_features(self, features: torch.Tensor) -> Projections:
        """What the first layer makes of F_0, of shape `(num_pairs, feature_size)`: the same in all iterations."""
        return self.layers[0].project_features(self.feature_projection(features))

    def project_relations(self, relations: torch.Tensor) -> Projections:
        """
        What the first layer makes of the relation matrix R_0. It is linear in the embeddings, and so computed for the
        table of embeddings and not for the pairs.

        Args:
            relations (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
                Relations of each pair, from [`~InferenceModule.read_relations`].
        """
        return self._look_up(self.layers[0].project_relations(self._embeddings(relations.device)), relations)

    def embed(self, relations: torch.Tensor) -> torch.Tensor:
        """R_0, the sum of the embeddings of the relations of each pair: `(num_pairs, num_labels)` -> `(num_pairs,
        width)`."""
        embeddings = self._embeddings(relations.device)
        return relations.to(embeddings.dtype) @ embeddings

    def _embeddings(self, device: torch.device) -> torch.Tensor:
        # By a call of the module, which has the weights there when they are kept on the disk or another device.
        return self.relation_embeddings(torch.arange(self.relation_embeddings.num_embeddings, device=device))

    def _look_up(self, table: Projections, relations: torch.Tensor) -> Projections:
        if self.relation_embedding == "argmax":
            classes = relations.int().argmax(-1)
            return table.map(lambda rows: rows.index_select(0, classes))
        return table.map(lambda rows: relations.to(rows.dtype) @ rows)

    def encode(
        self, features: Projections, relations: Projections, layout: PairLayout, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Runs the inference layers once.

        Args:
            features, relations ([`Projections`] of `num_pairs` rows):
                F_0 and R_0 of the candidate pairs.
            layout ([`PairLayout`]):
                Which pairs attend to which.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether to return the attention of all layers.

        Returns:
            `tuple(torch.FloatTensor)`: M = [F_{N_I}, R_{N_I}] of shape `(num_pairs, 2 * width)`, and the probabilities
            of shape `(num_pairs, num_layers, 2, 4, line_length)` or `None`.
        """
        attentions = []
        for index, layer in enumerate(self.layers):
            if index:
                features, relations = layer.project_features(features), layer.project_relations(relations)
            features, relations, probabilities = layer(features, relations, layout, output_attentions)
            attentions.append(probabilities)
        return torch.cat([features, relations], -1), torch.stack(attentions, 1) if output_attentions else None

    def classify(self, encoded: torch.Tensor, base_logits: torch.Tensor) -> torch.Tensor:
        """W_c [F_{N_I}, R_{N_I}] + b_c, equation 12 before the sigmoid: `(num_pairs, 2 * width)` -> `(num_pairs,
        num_labels)`."""
        logits = self.classifier(self.dropout(encoded))
        return logits + base_logits if self.adds_base_logits else logits

    def forward(
        self,
        features: torch.Tensor,
        base_logits: torch.Tensor,
        pair_mask: torch.Tensor,
        output_attentions: bool = False,
    ) -> InferenceOutput:
        """
        Iterates K times from the predictions of the base module.

        A document whose relation matrix is that of the iteration before has reached its fixed point: the layers would
        give what they gave then, which is used again.

        Args:
            features (`torch.FloatTensor` of shape `(num_pairs, feature_size)`):
                F_0 of the candidate pairs, in the order of `pair_mask.nonzero()`.
            base_logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
                Predictions of the base module.
            pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
                Candidate pairs.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether to return the attention of all layers and iterations.

        Returns:
            [`InferenceOutput`].
        """
        layout = self.layout(pair_mask)
        projected = self.project_features(features)
        table = self.layers[0].project_relations(self._embeddings(features.device))
        logits, relations = base_logits, None
        update, probabilities = None, None
        all_logits, all_attentions = [], []
        for _ in range(self.num_iterations):
            previous, relations = relations, self.read_relations(logits)
            documents, pairs = _changed_documents(previous, relations, pair_mask)
            is_all = isinstance(documents, slice)
            if is_all or documents.any():
                encoded, found = self.encode(
                    projected.select(pairs),
                    self._look_up(table, relations[pairs]),
                    layout if is_all else self.layout(pair_mask[documents]),
                    output_attentions,
                )
                update = _replace_rows(update, pairs, self.classify(encoded, base_logits[pairs]))
                if output_attentions:
                    probabilities = _replace_rows(probabilities, pairs, found)
            logits = logits + update if self.accumulates else update
            all_logits.append(logits)
            all_attentions.append(probabilities)
        return InferenceOutput(tuple(all_logits), tuple(all_attentions) if output_attentions else None)


@torch.no_grad()
def classifier_weights(module: InferenceModule) -> dict[str, float]:
    """
    The average absolute weight of W_c (equation 12) on either input, as in Figure 5 of the paper: how much the
    classifier listens to features and how much to relations.

    Args:
        module ([`InferenceModule`]):
            `model.inference_module`.

    Returns:
        `dict[str, float]`: `feature` and `relation`.
    """
    feature, relation = module.classifier.weight.abs().chunk(2, dim=-1)
    return {"feature": feature.mean().item(), "relation": relation.mean().item()}


def _changed_documents(
    previous: torch.Tensor | None, relations: torch.Tensor, pair_mask: torch.Tensor
) -> tuple[torch.Tensor | slice, torch.Tensor | slice]:
    """
    Which documents have another relation matrix than in the iteration before, `(batch_size,)`, bool, and which pairs
    are theirs, `(num_pairs,)`, bool; two slices of all where all have, and in a graph that is compiled or exported,
    which cannot depend on values.
    """
    everything = slice(None), slice(None)
    if previous is None or torch.compiler.is_compiling():
        return everything
    document = pair_mask.nonzero(as_tuple=True)[0]
    changed = torch.zeros(len(pair_mask), dtype=torch.bool, device=relations.device)
    changed[document[(previous != relations).any(-1)]] = True
    return everything if changed.all() else (changed, changed[document])


def _replace_rows(values: torch.Tensor | None, rows: torch.Tensor | slice, new: torch.Tensor) -> torch.Tensor:
    if values is None:
        return new
    values = values.clone()
    values[rows] = new
    return values
