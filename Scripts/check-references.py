"""Whether all that deploy/ and schemas/asyncapi.yaml speak of is there: files, topics, settings, metrics.

usage: check-references.py     (in the project's folder, with PyYAML)
"""

import json
import pathlib
import re
import subprocess
import sys

import yaml

UHAN = ".build/release/uhan"


def load(path):
    return yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def check_asyncapi(document):
    for reference in references(document):
        if reference.startswith("#/"):
            node = document
            for part in reference[2:].split("/"):
                if part not in node:
                    yield f"schemas/asyncapi.yaml: nothing at {reference}"
                    break
                node = node[part]
        elif not pathlib.Path("schemas", reference).exists():
            yield f"schemas/asyncapi.yaml: no file {reference}"
    named = {reference for reference in references(document) if not reference.startswith("#")}
    for schema in pathlib.Path("schemas").glob("*.json"):
        if schema.name not in named:
            yield f"schemas/asyncapi.yaml does not name {schema.name}"


def check_topics(document):
    script = pathlib.Path("deploy/topics.sh").read_text(encoding="utf-8")
    made = set(re.findall(r"^topic (\S+)", script, re.MULTILINE))
    described = {channel["address"] for channel in document["channels"].values()}
    if made != described:
        yield f"deploy/topics.sh makes {sorted(made)}, schemas/asyncapi.yaml has {sorted(described)}"


def keys(settings, prefix=""):
    for name, value in settings.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and path != "kafka.properties":
            yield from keys(value, path + ".")
        else:
            yield path


def check_settings():
    printed = subprocess.run(
        [UHAN, "config", "show", "--defaults"], check=True, capture_output=True, text=True).stdout
    # What has no fixed default stands there as a comment, "#model: # required".
    printed = re.sub(r"^( *)#(\w+): # .*$", r'\1\2: ""', printed, flags=re.MULTILINE)
    known = set(keys(yaml.safe_load(printed)))
    manifests = yaml.safe_load_all(
        pathlib.Path("deploy/kubernetes/uhan.yaml").read_text(encoding="utf-8"))
    config_maps = [m for m in manifests if m["kind"] == "ConfigMap"]
    sources = {"deploy/compose/uhan.yaml": load("deploy/compose/uhan.yaml")}
    for config_map in config_maps:
        sources["deploy/kubernetes/uhan.yaml"] = yaml.safe_load(config_map["data"]["uhan.yaml"])
    for source, settings in sources.items():
        for key in keys(settings):
            if key not in known:
                yield f"{source}: there is no setting {key}"


def check_metrics():
    """Names in alerts and the dashboard, against those that the code registers."""
    source = "".join(
        path.read_text(encoding="utf-8") for path in pathlib.Path("Sources").rglob("*.swift"))
    used = {}
    for path in ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/uhan.json"]:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        for name in re.findall(r"\buhan_[a-z_]+", text):
            used.setdefault(re.sub(r"_(bucket|sum|count)$", "", name), path)
    for name, path in sorted(used.items()):
        if f'"{name}"' not in source:
            yield f"{path}: nothing registers a metric {name}"


def main():
    document = load("schemas/asyncapi.yaml")
    json.loads(pathlib.Path("deploy/grafana/dashboards/uhan.json").read_text(encoding="utf-8"))
    problems = [
        *check_asyncapi(document), *check_topics(document), *check_settings(), *check_metrics()]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print("all references lead somewhere", file=sys.stderr)


main()
