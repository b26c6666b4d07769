"""The rules of the Hub for the metadata of a README.md, from its documentation and its answers."""

import re

import yaml


FRONT_MATTER = re.compile(r"\A\s*---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
# https://huggingface.co/docs/hub/repositories-licenses
LICENSES = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
    bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0
    etalab-2.0 eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 h-research
    intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit
    mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 other pddl postgresql unknown
    unlicense wtfpl zlib
    """.split()
)
# https://huggingface.co/tasks
PIPELINE_TAGS = frozenset(
    """
    any-to-any audio-classification audio-text-to-text audio-to-audio automatic-speech-recognition depth-estimation
    document-question-answering feature-extraction fill-mask graph-ml image-classification image-feature-extraction
    image-segmentation image-text-to-text image-to-3d image-to-image image-to-text image-to-video keypoint-detection
    mask-generation object-detection other question-answering reinforcement-learning robotics sentence-similarity
    summarization table-question-answering tabular-classification tabular-regression text-classification
    text-generation text-ranking text-to-3d text-to-audio text-to-image text-to-speech text-to-video
    time-series-forecasting token-classification translation unconditional-image-generation video-classification
    video-text-to-text visual-document-retrieval visual-question-answering voice-activity-detection
    zero-shot-classification zero-shot-image-classification zero-shot-object-detection
    """.split()
)
REPOSITORY_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)
LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[\w-]+)?|code|multilingual")


def front_matter(readme):
    """The metadata of a README.md; none where it has no front matter. Raises `ValueError` where it is no mapping."""
    found = FRONT_MATTER.match(readme)
    if not found:
        return {}
    try:
        metadata = yaml.safe_load(found.group(1))
    except yaml.YAMLError as error:
        raise ValueError(f"bad YAML: {error}") from error
    if not isinstance(metadata, dict | None):
        raise ValueError("the front matter is not a mapping")
    return metadata or {}


def validate_card(readme):
    """Returns the errors, for which the Hub rejects a README.md, and the warnings."""
    try:
        metadata = front_matter(readme)
    except ValueError as error:
        return [str(error)], []
    if not metadata:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = [
        *_not_allowed(metadata, "license", LICENSES.__contains__, "must be one of the Hub's licenses"),
        *_not_allowed(metadata, "language", LANGUAGE.fullmatch, "must be a code of 2 or 3 lowercase letters"),
        *_not_allowed(metadata, "datasets", REPOSITORY_NAME.fullmatch, "is not a dataset id"),
        *_not_allowed(metadata, "base_model", REPOSITORY_NAME.fullmatch, "is not a model id"),
        *_not_allowed(metadata, "metrics", bool, "is empty"),
        *_not_strings(metadata, "tags"),
        *_model_index_errors(metadata.get("model-index", [])),
    ]
    errors += [
        f'"{field}" must be a string'
        for field in ("pipeline_tag", "library_name", "license_name", "license_link")
        if not isinstance(metadata.get(field, ""), str)
    ]
    if metadata.get("license") == "other" and "license_name" not in metadata:
        errors.append('"license_name" is required where "license" is "other"')
    tag = str(metadata.get("pipeline_tag", "other"))
    return errors, [] if tag in PIPELINE_TAGS else [f'The pipeline tag "{tag}" is not in the official list']


def _not_allowed(metadata, field, allowed, problem):
    """Checks that a field is an allowed string or a list of them."""
    values = metadata.get(field, [])
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, str) or not allowed(value):
            yield f'"{field}" with value "{value}" {problem}'


def _not_strings(metadata, field):
    values = metadata.get(field, [])
    if not isinstance(values, list):
        return [f'"{field}" must be an array']
    return [f'"{field}[{i}]" must be a string' for i, value in enumerate(values) if not isinstance(value, str)]


def _model_index_errors(entries):
    """https://github.com/huggingface/hub-docs/blob/main/modelcard.md"""
    if not isinstance(entries, list):
        return ['"model-index" must be an array']
    errors = []
    for i, entry in enumerate(entries):
        where = f"model-index[{i}]"
        errors += _missing(entry, where, ["name", "results"])
        for j, result in enumerate(_field(entry, "results", [])):
            errors += _result_errors(result, f"{where}.results[{j}]")
    return errors


def _result_errors(result, where):
    errors = _missing(result, where, ["task", "metrics"])
    errors += _missing(_field(result, "task", {}), f"{where}.task", ["type"])
    if "dataset" in result:
        errors += _missing(result["dataset"], f"{where}.dataset", ["type", "name"])
    for i, metric in enumerate(_field(result, "metrics", [])):
        errors += _missing(metric, f"{where}.metrics[{i}]", ["type", "value"])
    return errors


def _field(value, field, default):
    return value.get(field, default) if isinstance(value, dict) else default


def _missing(value, where, fields):
    if not isinstance(value, dict):
        return [f'"{where}" must be of type object']
    return [f'"{where}.{field}" is required' for field in fields if value.get(field) is None]
