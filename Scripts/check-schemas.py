#!/usr/bin/env python3
"""Checks the JSON Schemas in schemas/ and the samples beside them.

    Scripts/check-schemas.py                                  schemas and samples
    Scripts/check-schemas.py --lines score.v1 scores.jsonl    and each line of a file as well

Needs `pip install jsonschema`. A sample is named after its schema: samples/post.v1.url.json is
read with post.v1.json. Samples under samples/refused/ must not validate.
"""

import argparse
import json
import pathlib
import sys

from jsonschema import Draft202012Validator

SCHEMAS = pathlib.Path(__file__).resolve().parent.parent / "schemas"


def schema_name(sample):
    """post.v1.url.json -> post.v1"""
    return ".".join(sample.name.split(".")[:2])


def load_validators():
    validators = {}
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text())
        Draft202012Validator.check_schema(schema)
        validators[path.stem] = Draft202012Validator(schema)
    return validators


def errors(validator, value):
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", nargs=2, action="append", default=[], metavar=("SCHEMA", "FILE"))
    arguments = parser.parse_args()

    validators = load_validators()
    failures = []
    used = set()
    samples = sorted((SCHEMAS / "samples").glob("*.json"))
    for sample in samples:
        used.add(schema_name(sample))
        for error in errors(validators[schema_name(sample)], json.loads(sample.read_text())):
            failures.append(f"{sample.name}: {error}")
    refused = sorted((SCHEMAS / "samples" / "refused").glob("*.json"))
    for sample in refused:
        if not errors(validators[schema_name(sample)], json.loads(sample.read_text())):
            failures.append(f"refused/{sample.name}: validates, and should not")
    for name in sorted(validators.keys() - used):
        failures.append(f"{name}: has no sample")

    count = 0
    for name, file in arguments.lines:
        for number, line in enumerate(pathlib.Path(file).read_text().splitlines(), start=1):
            count += 1
            for error in errors(validators[name], json.loads(line)):
                failures.append(f"{file}:{number}: {error}")

    for failure in failures:
        print(failure, file=sys.stderr)
    print(
        f"{len(validators)} schemas, {len(samples)} samples, {len(refused)} refused samples,"
        f" {count} lines: {len(failures)} failures"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
