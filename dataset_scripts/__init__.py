"""`datasets` builders of the corpora, one file a corpus."""
