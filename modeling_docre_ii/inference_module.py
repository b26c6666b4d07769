"""The inference module (section 2.2) and its pass in training (section 2.3)."""

from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig
from .cross_attention import ExtendedCrossAttention, PairLayout, Projections, unchanged
from .entity_pairs import ActivePairs, EntityPairs
from .losses import sample_pairs
from .relation_matrix import (
    RelationEmbeddings,
    changed_documents,
    corrupt_relations,
    draw_noise_rates,
    read_relations,
    sure_logits,
)


# Of how many pairs the first layer's projections of F_0 are kept from one iteration to the next.
_MOST_KEPT = 2**14


class FusionGate(nn.Module):
    """
    Fuses the outputs of both attention units, equations 8 and 9.

        s = Sigmoid([F~, R~] W_g + b_g),   M~ = s * F~ + (1 - s) * R~

    `(num_pairs, width)` twice -> `(num_pairs, width)`.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.gate = nn.Linear(2 * config.inference_hidden_size, config.inference_hidden_size)

    def forward(self, features: torch.Tensor, relations: torch.Tensor) -> torch.Tensor:
        share = self.gate(torch.cat([features, relations], dim=-1)).sigmoid()
        return share * features + (1 - share) * relations


class InferenceFeedForward(nn.Module):
    """
    Computes LayerNorm(X + FNN(M~)), equations 10 and 11.

    `(num_pairs, width)` twice -> `(num_pairs, width)`.
    """

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
    One inference layer, equations 5 to 11.

    It has two ECA units, a fusion gate between them, and one FNN each for F and R.

    Args:
        config ([`DocREIIConfig`]):
            Sizes. Without `use_fusion`, each FNN takes the output of its own attention unit.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.feature_attention = ExtendedCrossAttention(config)
        self.relation_attention = ExtendedCrossAttention(config)
        self.fusion = FusionGate(config) if config.use_fusion else None
        self.feature_output = InferenceFeedForward(config)
        self.relation_output = InferenceFeedForward(config)

    def project_features(self, features: torch.Tensor) -> Projections:
        """Projects F_l: `(num_pairs, width)` -> [`Projections`] of `num_pairs` rows."""
        return Projections(
            value=partial(unchanged, features),
            query=partial(self.feature_attention.query, features),
            feature_key_value=partial(self.feature_attention.feature_key_value, features),
            relation_key_value=partial(self.relation_attention.feature_key_value, features),
        )

    def project_relations(self, relations: torch.Tensor) -> Projections:
        """
        Projects R_l, linearly: `(rows, width)` -> [`Projections`] of as many rows.

        Rows are pairs, or the classes of the table of embeddings.
        """
        return Projections(
            value=partial(unchanged, relations),
            query=partial(self.relation_attention.query, relations),
            feature_key_value=partial(self.feature_attention.relation_key_value, relations),
            relation_key_value=partial(self.relation_attention.relation_key_value, relations),
        )

    def forward(
        self, features: Projections, relations: Projections, layout: PairLayout, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """
        Computes the next F and R.

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
        # The projections of R are new tensors, which take the sum in their place.
        from_features, feature_probabilities = self.feature_attention(
            features.query(),
            relations.feature_key_value().add_(features.feature_key_value()),
            layout,
            output_attentions,
        )
        from_relations, relation_probabilities = self.relation_attention(
            relations.query(),
            relations.relation_key_value().add_(features.relation_key_value()),
            layout,
            output_attentions,
        )
        if self.fusion is not None:
            from_features = from_relations = self.fusion(from_features, from_relations)
        attentions = torch.stack([feature_probabilities, relation_probabilities], 1) if output_attentions else None
        return (
            self.feature_output(features.value(), from_features),
            self.relation_output(relations.value(), from_relations),
            attentions,
        )


class InferenceOutput(NamedTuple):
    """
    Output of all iterations.

    Args:
        logits (`tuple(torch.FloatTensor)`, one per iteration, of shape `(num_pairs, num_labels)`):
            Relation logits P^(1), ..., P^(K) before the sigmoid.
        attentions (`tuple(torch.FloatTensor)`, one per iteration, or `None`):
            Attention probabilities of all layers, of shape `(num_pairs, num_layers, 2, 4, line_length)`: units
            feature and relation level, heads row s, column s, row o, column o.
    """

    logits: tuple[torch.Tensor, ...]
    attentions: tuple[torch.Tensor, ...] | None

    def to_matrices(self, pairs: EntityPairs) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...] | None]:
        """Returns `iteration_logits` and `cross_attentions` of a [`DocREIIOutput`]."""
        logits = tuple(map(pairs.to_matrix, self.logits))
        if self.attentions is None:
            return logits, None
        # Pairs move from the first dimension to after layer, unit and head.
        return logits, tuple(
            pairs.to_matrix(weights.flatten(1)).unflatten(-1, weights.shape[1:]).permute(0, 3, 4, 5, 1, 2, 6)
            for weights in self.attentions
        )


class NoisyPass(NamedTuple):
    """
    Output of the training pass.

    Args:
        logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits of the first view.
        views (`tuple(torch.FloatTensor)`, two of shape `(num_active_pairs, 2 * width)`, or `None`):
            `[F, R]` after the top layer: the first view, and the second, with features and relations exchanged.
        sample (`torch.BoolTensor` of shape `(num_pairs,)`, or `None` for all):
            Pairs in the adaptive threshold loss.
        document (`torch.LongTensor` of shape `(num_active_pairs,)`):
            Document of each pair in the views.
    """

    logits: torch.Tensor
    views: tuple[torch.Tensor, torch.Tensor] | None
    sample: torch.Tensor | None
    document: torch.Tensor


class InferenceModule(nn.Module):
    r"""
    Refines predictions iteratively, from features and predictions (section 2.2).

    It takes only feature vectors and logits from the base module, so it works on top of any. With
    `config.inference_features="logits"`, it takes only the logits.

    Args:
        config ([`DocREIIConfig`]):
            Sizes and variants.
        feature_size (`int`):
            Width of the feature vectors.
    """

    def __init__(self, config: DocREIIConfig, feature_size: int):
        super().__init__()
        width = config.inference_hidden_size
        self.config = config
        self.feature_projection: nn.Module = nn.Linear(feature_size, width)
        if config.inference_features == "logits":
            self.feature_projection = nn.Linear(config.num_labels, width)
        elif feature_size == width:
            self.feature_projection = nn.Identity()
        self.relation_embeddings = RelationEmbeddings(config)
        self.layers = nn.ModuleList([InferenceLayer(config) for _ in range(config.num_inference_layers)])
        self.dropout = nn.Dropout(config.inference_dropout)
        self.classifier = nn.Linear(2 * width, config.num_labels)

    def read_relations(self, logits: torch.Tensor) -> torch.Tensor:
        """Reads the relation matrix from logits, as [`read_relations`]."""
        return read_relations(logits, self.config.relation_embedding, self.config.relation_temperature)

    def project_inputs(self, features: torch.Tensor | None, base_logits: torch.Tensor) -> torch.Tensor:
        """
        Computes F_0, of shape `(num_pairs, width)`.

        Args:
            features (`torch.FloatTensor` of shape `(num_pairs, feature_size)`, *optional*):
                Feature vectors of the pairs, for `inference_features="pair"`.
            base_logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
                Predictions of the base module, for `inference_features="logits"`.
        """
        if self.config.inference_features == "logits":
            return self.feature_projection(base_logits - base_logits[:, :1])
        return self.feature_projection(features)

    def layout(self, pairs: EntityPairs, output_attentions: bool = False) -> PairLayout:
        """Returns which pairs attend to which, as [`PairLayout.of`]."""
        return PairLayout.of(pairs, self.config, output_attentions)

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
        """
        Computes W_c [F_{N_I}, R_{N_I}] + b_c, equation 12 before the sigmoid.

        `(num_pairs, 2 * width)` -> `(num_pairs, num_labels)`.
        """
        logits = self.classifier(self.dropout(encoded))
        return logits + base_logits if self.config.add_base_logits else logits

    def forward(
        self,
        features: torch.Tensor | None,
        base_logits: torch.Tensor,
        pairs: EntityPairs,
        output_attentions: bool = False,
    ) -> InferenceOutput:
        """
        Iterates K times from the predictions of the base module.

        With `config.inference_margin`, pairs that are outside it keep the logits of the base module.

        A document whose relation matrix did not change in the last iteration has reached its fixed point, so its last
        result is reused. The first layer's projections of F_0 and of the table of relation embeddings are the same in
        all iterations and computed once; those of F_0, for very many pairs, in each.

        Args:
            features (`torch.FloatTensor` of shape `(num_pairs, feature_size)`, *optional*):
                Feature vectors of the candidate pairs, for `inference_features="pair"`.
            base_logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
                Predictions of the base module.
            pairs ([`EntityPairs`]):
                Index of the candidate pairs.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether to return the attention of all layers and iterations.

        Returns:
            [`InferenceOutput`].
        """
        active = ActivePairs.within_margin(base_logits, pairs, self.config.inference_margin)
        given = (None if features is None else active.select(features), active.select(base_logits), active.pairs)
        logits, attentions = self._iterate(*given, output_attentions)
        return InferenceOutput(
            tuple(active.merge(base_logits, refined) for refined in logits),
            attentions and tuple(active.merge(None, probabilities) for probabilities in attentions),
        )

    def _iterate(
        self, features: torch.Tensor | None, base_logits: torch.Tensor, pairs: EntityPairs, output_attentions: bool
    ) -> InferenceOutput:
        layout, first_layer = self.layout(pairs, output_attentions), self.layers[0]
        projected = first_layer.project_features(self.project_inputs(features, base_logits))
        if torch.compiler.is_compiling() or len(base_logits) <= _MOST_KEPT:
            projected = projected.computed()
        table = first_layer.project_relations(self.relation_embeddings.table(base_logits.device)).computed()
        logits = base_logits
        relations: torch.Tensor | None = None
        update, probabilities = None, None
        all_logits, all_attentions = [], []
        for _ in range(self.config.num_iterations):
            previous, relations = relations, self.read_relations(logits)
            documents, rows = changed_documents(previous, relations, pairs)
            if isinstance(documents, slice) or documents.any():
                found = relations[rows]
                encoded, attentions = self.encode(
                    projected.map(lambda values, rows=rows: values[rows]),
                    table.map(lambda values, found=found: self.relation_embeddings.look_up(values, found)),
                    layout
                    if isinstance(documents, slice)
                    else self.layout(pairs.of_documents(documents), output_attentions),
                    output_attentions,
                )
                update = _replace_rows(update, rows, self.classify(encoded, base_logits[rows]))
                if output_attentions:
                    probabilities = _replace_rows(probabilities, rows, attentions)
            logits = logits + update if self.config.iteration_update == "accumulate" else update
            all_logits.append(logits)
            all_attentions.append(probabilities)
        return InferenceOutput(tuple(all_logits), tuple(all_attentions) if output_attentions else None)

    def noisy_pass(
        self, features: torch.Tensor | None, base_logits: torch.Tensor, pairs: EntityPairs, labels: torch.Tensor
    ) -> NoisyPass:
        """
        Runs the layers once over a relation matrix with noise (section 2.3).

        With a contrastive loss they run a second time, over other noise and with F and R exchanged. Equation 14
        compares the two views.

        Args:
            features, base_logits, pairs:
                As for [`InferenceModule.forward`].
            labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
                Relations that hold.

        Returns:
            [`NoisyPass`].
        """
        config, embeddings = self.config, self.relation_embeddings
        sample = sample_pairs(labels, config.negatives_per_positive) if config.negatives_per_positive else None
        active = ActivePairs.within_margin(base_logits, pairs, config.inference_margin)
        all_logits, pairs, labels = base_logits, active.pairs, active.select(labels)
        base_logits, features = active.select(base_logits), None if features is None else active.select(features)
        layout = self.layout(pairs)
        source = sure_logits(labels) if config.training_relations == "gold" else base_logits.detach()
        relations = self.read_relations(source)
        # The released code corrupts only pairs of its sample.
        exposed = active.select(sample) if sample is not None and config.relation_noise == "by_label" else None

        def corrupted() -> torch.Tensor:
            rates = draw_noise_rates(pairs.num_documents, config, labels.device)
            return corrupt_relations(relations, labels, pairs.document, rates, exposed)

        first_layer, feature_vectors = self.layers[0], self.project_inputs(features, base_logits)
        noisy = corrupted()
        table = first_layer.project_relations(embeddings.table(labels.device)).computed()
        encoded, _ = self.encode(
            first_layer.project_features(feature_vectors),
            table.map(lambda values: embeddings.look_up(values, noisy)),
            layout,
        )
        # The base module does not learn from the pairs that it is sure of, in this loss.
        logits = active.merge(all_logits.detach(), self.classify(encoded, base_logits))
        if not config.contrastive_loss_weight:
            return NoisyPass(logits, None, sample, pairs.document)
        reversed_encoded, _ = self.encode(
            first_layer.project_features(embeddings.look_up(embeddings.table(labels.device), corrupted())),
            first_layer.project_relations(feature_vectors),
            layout,
        )
        return NoisyPass(logits, (encoded, reversed_encoded), sample, pairs.document)


def given_logits(module: InferenceModule | None, base_logits: torch.Tensor) -> torch.Tensor:
    """
    Returns the logits of another base module as an inference module reads them.

    Args:
        module ([`InferenceModule`], *optional*):
            The inference module.
        base_logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            The logits, in any precision.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs, num_labels)`, in that of the module.

    Raises:
        `ValueError`: it reads the features of its own, or there is none.
    """
    if module is None or module.config.inference_features != "logits":
        raise ValueError("`base_logits` need an inference module with `inference_features='logits'`")
    weight = module.feature_projection.weight
    return base_logits.to(weight.dtype) if weight.is_floating_point() else base_logits  # quantized weights


@torch.no_grad()
def classifier_weights(module: InferenceModule) -> dict[str, float]:
    """
    Computes how much the classifier relies on features and on relations.

    This is the average absolute weight of W_c (equation 12) for each of the two, as in Figure 5 of the paper.

    Args:
        module ([`InferenceModule`]):
            `model.inference_module`.

    Returns:
        `dict[str, float]`: `feature` and `relation`.
    """
    feature, relation = module.classifier.weight.abs().chunk(2, dim=-1)
    return {"feature": feature.mean().item(), "relation": relation.mean().item()}


def _replace_rows(values: torch.Tensor | None, rows: torch.Tensor | slice, new: torch.Tensor) -> torch.Tensor:
    if values is None:
        return new
    values = values.clone()
    values[rows] = new
    return values
