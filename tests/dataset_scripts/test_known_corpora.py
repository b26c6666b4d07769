"""The registry of corpora has every builder, and all that a run and a model card need."""

import importlib
import inspect
import pkgutil

import pytest

import dataset_scripts
from dataset_scripts.corpus import make_builder
from dataset_scripts.corpus_builder import CorpusBuilder
from dataset_scripts.known_corpora import KNOWN_CORPORA


every_corpus = pytest.mark.parametrize("name", list(KNOWN_CORPORA))


def builders():
    """Returns all classes of the package that read a corpus."""
    modules = [
        importlib.import_module(f"dataset_scripts.{module.name}")
        for module in pkgutil.iter_modules(dataset_scripts.__path__)
    ]
    classes = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    return {kind for kind in classes if issubclass(kind, CorpusBuilder) and kind.builder_configs}


def test_every_builder_has_an_entry():
    found = builders()
    assert {kind.__name__ for kind in found} >= {"CDR", "DocRED", "GDA"}
    assert {corpus.builder for corpus in KNOWN_CORPORA.values()} == found


def test_every_configuration_of_a_builder_can_be_reached():
    for builder in builders():
        fixed = {corpus.config_name for corpus in KNOWN_CORPORA.values() if corpus.builder is builder}
        # Either all of them are corpora of their own, or `dataset_config_name` chooses among them.
        assert fixed == set(builder.builder_configs) or fixed == {None}


@every_corpus
def test_its_entry_is_complete(name):
    corpus = KNOWN_CORPORA[name]
    assert corpus.name and corpus.language
    assert corpus.texts[:1].strip() and not corpus.texts.endswith("."), "the end of a sentence"
    assert corpus.caution.endswith("."), "whole sentences"
    assert [other.name for other in KNOWN_CORPORA.values()].count(corpus.name) == 1


@every_corpus
def test_its_builder_is_made_by_its_name(name, tmp_path):
    corpus, path = KNOWN_CORPORA[name], tmp_path / "train.data"
    path.write_text("", encoding="utf-8")
    config_name = "preprocessed" if corpus.config_name is None else None
    builder = make_builder(name, config_name, files={"train": [str(path)]})
    assert type(builder) is corpus.builder
    assert builder.config.name.split("-")[0] == (corpus.config_name or config_name)
    assert list(builder.relation_names)[0] == "Na" and len(builder.relation_names) > 1
