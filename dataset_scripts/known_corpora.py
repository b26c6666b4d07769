"""The corpora that `dataset_name` knows: their builders and descriptions."""

from dataclasses import dataclass

from dataset_scripts.cdr import CDR
from dataset_scripts.corpus_builder import CorpusBuilder
from dataset_scripts.docred import DocRED
from dataset_scripts.gda import GDA


@dataclass(frozen=True)
class KnownCorpus:
    """
    A published corpus.

    Args:
        builder (`type[CorpusBuilder]`):
            The builder that reads its files.
        config_name (`str`, *optional*):
            Configuration of the builder. `None` if `dataset_config_name` chooses one, or the builder's default.
        name (`str`):
            Readable name.
        hub_id (`str`, *optional*):
            Its repository on the Hub, if it has one.
        texts (`str`):
            The kind of documents, to end the sentence "It was trained on ..." of a model card.
        caution (`str`):
            A caution about the labels for users of a trained model, in whole sentences.
        language (`str`, *optional*, defaults to `"en"`):
            Language code of the documents.
    """

    builder: type[CorpusBuilder]
    config_name: str | None
    name: str
    hub_id: str | None
    texts: str
    caution: str
    language: str = "en"

    @property
    def is_in_docred_form(self) -> bool:
        """`bool`: whether its files are in DocRED's form, like those of your own corpus."""
        return issubclass(self.builder, DocRED)


_WIKIPEDIA = "introductions of English Wikipedia articles"
_PUBMED = "English titles and abstracts of PubMed"

# By the name that `dataset_name` takes. A new corpus is one entry here.
KNOWN_CORPORA = {
    "docred": KnownCorpus(
        builder=DocRED,
        config_name="docred",
        name="DocRED",
        hub_id="thunlp/docred",
        texts=_WIKIPEDIA,
        caution="DocRED's annotation misses many facts, which Re-DocRED adds. The model learned not to predict some "
        "true facts, and in scores against DocRED a correct prediction can count as wrong.",
    ),
    "docred_distant": KnownCorpus(
        builder=DocRED,
        config_name="docred_distant",
        name="DocRED (distantly supervised)",
        hub_id="thunlp/docred",
        texts=_WIKIPEDIA,
        caution="Its labels are Wikidata's facts about the entities of a text, even if the text does not state them.",
    ),
    "re_docred": KnownCorpus(
        builder=DocRED,
        config_name="re_docred",
        name="Re-DocRED",
        hub_id="tonytan48/Re-DocRED",
        texts=_WIKIPEDIA,
        caution="Re-DocRED adds most, but not all, of the facts that DocRED's annotation misses: in scores, a correct "
        "prediction can still count as wrong.",
    ),
    "cdr": KnownCorpus(
        builder=CDR,
        config_name=None,
        name="BioCreative V CDR",
        hub_id="bigbio/bc5cdr",
        texts=_PUBMED,
        caution="A fact of CDR says that an abstract reports that a chemical induces a disease. It is not medical "
        "advice.",
    ),
    "gda": KnownCorpus(
        builder=GDA,
        config_name=None,
        name="GDA",
        hub_id=None,
        texts=_PUBMED,
        caution="GDA's labels come from a database of genes and diseases, by distant supervision: an abstract may "
        "not state them. They are not medical advice.",
    ),
}
