"""The arguments of a run of the quickstart that takes seconds."""

import json


SIZES = {"pair_hidden_size": 32, "pair_intermediate_size": 32, "pair_bilinear_rank": 32, "pair_feature_size": 32}


def arguments_of(settings, output_dir, **changes):
    """The command line of the quickstart with other settings, and changes of these."""
    values = settings | {"output_dir": str(output_dir)} | changes
    flags = [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    return ["configuration/quickstart.yaml", *flags]
