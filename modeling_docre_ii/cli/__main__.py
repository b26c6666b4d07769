"""Runs the command line with `python -m modeling_docre_ii.cli`."""

from . import main


main()
