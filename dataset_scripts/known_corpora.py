"""All corpora that `dataset_name` knows: how each is built, and what a model card says about it."""

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
            Configuration of the builder. `None` where a user chooses one with `dataset_config_name`, or takes the
            builder's default.
        name (`str`):
            Readable name.
        hub_id (`str`, *optional*):
            Its repository on the Hub, if it has one.
        texts (`str`):
            What the documents are, as the end of "It was trained on ...".
        caution (`str`):
            What users of a trained model should know about the labels, in whole sentences.
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


_WIKIPEDIA = "introductions of English Wikipedia articles"
_PUBMED = "English titles and abstracts of PubMed"

# A new corpus is one entry here: by the name that `dataset_name` gives it.
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
        caution="Its labels are Wikidata's facts about the entities of a text, whether or not the text states them.",
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
        caution="A fact of CDR says that an abstract reports a chemical to induce a disease. It is no medical advice.",
    ),
    "gda": KnownCorpus(
        builder=GDA,
        config_name=None,
        name="GDA",
        hub_id=None,
        texts=_PUBMED,
        caution="GDA's labels come from a database of genes and diseases, by distant supervision: an abstract need "
        "not state them. They are no medical advice.",
    ),
}
