"""The worker's image and the Kubernetes job template, as far as they can be read without either."""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
from typing import Any

import pytest
from prefect.server.schemas.actions import WorkPoolCreate
from prefect.utilities.templating import apply_values, find_placeholders
from pydantic import ValidationError

from tests.conftest import ROOT

INSTRUCTIONS = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "CMD"}


def dockerfile() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    pairs = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(instruction, argument) for instruction, argument in pairs]


def test_the_dockerfile() -> None:
    lines = dockerfile()
    assert {instruction for instruction, _ in lines} <= INSTRUCTIONS
    assert lines[0][0] == "FROM"
    image, _, tag = lines[0][1].partition(":")
    assert (image, tag.startswith("3.1")) == ("python", True)
    ignored = (ROOT / ".dockerignore").read_text().split()
    for _, argument in (line for line in lines if line[0] == "COPY"):
        *sources, _target = argument.split()
        for source in sources:
            assert (ROOT / source).exists(), f"{source} is copied and does not exist"
            assert source not in ignored
    for _, argument in (line for line in lines if line[0] == "RUN"):
        subprocess.run(["sh", "-n", "-c", argument], check=True)
    # It does not run as root, and its last word can be replaced by what a work pool starts.
    assert [i for i, _ in lines][-2:] == ["USER", "CMD"]
    assert shlex.join(json.loads(lines[-1][1])) == "prefect worker start --pool prunebench"


def test_what_a_run_needs_is_in_the_image() -> None:
    copied = {name.removeprefix("./") for i, a in dockerfile() if i == "COPY" for name in a.split()}
    assert {"src", "tasks", "flows", "deployments", "configs", "assets"} <= copied


@pytest.fixture
def template() -> dict[str, Any]:
    return dict(json.loads((ROOT / "deployments" / "kubernetes.json").read_text()))


def test_prefect_takes_the_job_template(template: dict[str, Any]) -> None:
    WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=template)
    properties = template["variables"]["properties"]
    used = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}
    assert used == set(properties)
    # What a run may not choose: its command and its environment.
    assert not {"command", "env", "job_manifest"} & set(properties)
    broken = copy.deepcopy(template)
    del broken["variables"]["properties"]["cpu"]
    with pytest.raises(ValidationError, match="cpu"):
        WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=broken)


def test_a_job_has_whole_cores_to_itself_and_no_rights(template: dict[str, Any]) -> None:
    values = {
        name: schema.get("default", "x")
        for name, schema in template["variables"]["properties"].items()
    }
    manifest = apply_values(template["job_configuration"], values)["job_manifest"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["cpu"] == 2
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
