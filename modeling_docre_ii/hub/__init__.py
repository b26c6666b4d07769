"""Publishing on the Hub: the model card and what it says."""
