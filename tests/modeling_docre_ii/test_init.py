"""The package itself: its version."""

from pathlib import Path

from setuptools.config.setupcfg import read_configuration

import modeling_docre_ii


def test_the_version_of_the_distribution_is_that_of_the_package():
    """A checkout on the path has no distribution to ask."""
    settings = read_configuration(Path(__file__).parents[2] / "setup.cfg")

    assert settings["metadata"]["version"] == modeling_docre_ii.__version__
