"""The chart renders what Kubernetes and KubeRay take, and refuses what they would not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tessera.controller.__main__ import config
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.policy.oidc import OidcConfig
from tessera.rpc.principal import Principal, Role
from tessera.spec.configuration import parse_configuration

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "tessera"
HELM = Path(sys.executable).parent / "helm"
KUBERNETES = "1.37"
EXAMPLES = ["minimal", "gpu", "tpu"]

# What KubeRay's ray.io/v1 knows of a cluster, as far as this chart may use it.
CLUSTER = {
    "rayVersion",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
    "headGroupSpec",
    "workerGroupSpecs",
}
HEAD = {"serviceType", "rayStartParams", "template"}
WORKERS = {
    "groupName",
    "replicas",
    "minReplicas",
    "maxReplicas",
    "numOfHosts",
    "rayStartParams",
    "template",
}


def helm(*arguments: str, refused: bool = False) -> str:
    """What helm prints; its complaint where it is to refuse."""
    done = subprocess.run(
        [str(HELM), *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert bool(done.returncode) == refused, done.stderr
    return done.stderr if refused else done.stdout


def values_of(name: str) -> str:
    return str(CHART / "ci" / f"{name}-values.yaml")


@cache
def render(name: str, *arguments: str) -> str:
    template = ["template", "demo", str(CHART), "--namespace", "tessera"]
    return helm(*template, "--values", values_of(name), *arguments)


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(name: str, kind: str, *arguments: str) -> list[dict[str, Any]]:
    return [d for d in documents(render(name, *arguments)) if d["kind"] == kind]


def pod_templates(name: str) -> list[dict[str, Any]]:
    """The templates of every pod: the controller's, the head's, each worker group's."""
    (deployment,) = of_kind(name, "Deployment")
    (cluster,) = of_kind(name, "RayCluster")
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    return [deployment["spec"]["template"], *(group["template"] for group in groups)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_lint(name: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", values_of(name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden(name: str) -> None:
    """`make charts` writes these files again; a difference must be read before it is committed."""
    golden = CHART / "examples" / name / "rendered.yaml"
    # A token that the chart makes is another one each time.
    rendered = re.sub(r"(?m)^(  auth_token:) \S+$", r"\1 bWFkZSBieSB0aGUgY2hhcnQ=", render(name))
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(rendered)
    assert golden.read_text() == rendered, "run make charts and read the difference"


@pytest.mark.parametrize("name", EXAMPLES)
def test_kubernetes_takes_every_object(name: str) -> None:
    kinds = []
    for document in documents(render(name)):
        kinds.append(document["kind"])
        if document["kind"] != "RayCluster":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    for template in pod_templates(name):
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    assert {"Deployment", "Service", "ServiceAccount", "RayCluster"} <= set(kinds)


def test_the_validator_refuses_what_is_wrong() -> None:
    """Otherwise the test above could not fail."""
    (deployment,) = of_kind("minimal", "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_kuberay_knows_every_field(name: str) -> None:
    (cluster,) = of_kind(name, "RayCluster")
    assert cluster["apiVersion"] == "ray.io/v1"
    spec = cluster["spec"]
    assert set(spec) <= CLUSTER
    assert set(spec["headGroupSpec"]) == HEAD
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        # `ray start` takes strings; KubeRay refuses numbers here.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in spec["workerGroupSpecs"]:
        assert set(group) == WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    names = [group["groupName"] for group in spec["workerGroupSpecs"]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_may_do_little(name: str) -> None:
    for template in pod_templates(name):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
    controller = pod_templates(name)[0]["spec"]["containers"][0]
    assert controller["securityContext"]["readOnlyRootFilesystem"] is True


def test_only_an_autoscaling_head_gets_a_token() -> None:
    tokens = {
        name: [t["spec"]["automountServiceAccountToken"] for t in pod_templates(name)]
        for name in ("minimal", "gpu")
    }
    assert tokens == {"minimal": [False, False, False], "gpu": [False, True, False, False]}
    for name in EXAMPLES:
        assert not of_kind(name, "Role") + of_kind(name, "ClusterRole")


def test_the_controller_drains_before_it_is_killed() -> None:
    (deployment,) = of_kind("minimal", "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 10
    probes = [pod["containers"][0][f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    assert [probe["grpc"]["port"] for probe in probes] == [50051, 50051, 50051]


def test_the_controller_finds_the_pool() -> None:
    (deployment,) = of_kind("minimal", "Deployment")
    (cluster,) = of_kind("minimal", "RayCluster")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    head = f"{cluster['metadata']['name']}-head-svc"
    assert arguments[arguments.index("--pool") + 1] == f"main,http://{head}:8265,{head}:6379"


def test_the_pool_finds_the_controller() -> None:
    """It listens on every address, so it must say by which it is called."""
    (deployment,) = of_kind("minimal", "Deployment")
    (service,) = of_kind("minimal", "Service")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert arguments[arguments.index("--advertise") + 1] == f"{name}.tessera.svc:{port}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_controller_takes_its_arguments(name: str) -> None:
    (deployment,) = of_kind(name, "Deployment")
    given = config(deployment["spec"]["template"]["spec"]["containers"][0]["args"])
    assert given.host == "0.0.0.0"
    assert len(given.pools) == 1
    claims = {mount["mountPath"] for mount in head_mounts(name)}
    assert f"{given.home}/parameters" in claims, "shards write where the controller tells them to"


def test_the_operators_files_reach_the_controller_as_they_are_written() -> None:
    rule = {"when": {"groups": "ml"}, "tenant": "shop", "role": "submitter"}
    issuer = {
        "url": "https://issuer.example",
        "audiences": ["tessera"],
        "username": {"prefix": ""},
        "access": [rule],
    }
    given = {
        "oidc": {"issuers": [issuer], "token_seconds": 600},
        "limits": {"tenant": {"blob_bytes": 5_000_000_000_000}, "tenants": {"shop": {"jobs": 7}}},
    }
    options = [f"--set-json=controller.{name}={json.dumps(value)}" for name, value in given.items()]
    (files,) = of_kind("minimal", "ConfigMap", *options)
    (deployment,) = of_kind("minimal", "Deployment", *options)
    kubernetes_validate.validate(files, KUBERNETES, strict=True)
    kubernetes_validate.validate(deployment, KUBERNETES, strict=True)
    oidc = parse_configuration(files["data"]["oidc.yaml"], "oidc", OidcConfig)
    assert oidc.issuers[0].principal_of({"sub": "ada", "groups": "ml"}).tenant == "shop"
    limits = parse_configuration(files["data"]["limits.yaml"], "limits", PlatformLimits)
    assert (limits.of("shop").blob_bytes, limits.of("shop").jobs) == (5_000_000_000_000, 7)
    pod = deployment["spec"]["template"]["spec"]
    volume = {"name": "operator", "configMap": {"name": files["metadata"]["name"]}}
    assert volume in pod["volumes"]
    folder = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "operator")
    arguments = pod["containers"][0]["args"]
    for name in given:
        path = arguments[arguments.index(f"--{name}") + 1]
        assert path == f"{folder['mountPath']}/{name}.yaml"
    (other,) = of_kind("minimal", "ConfigMap", options[0])
    assert set(other["data"]) == {"oidc.yaml"}
    assert other["metadata"]["name"] != files["metadata"]["name"], "a change starts a new pod"
    assert not of_kind("minimal", "ConfigMap")


def head_mounts(name: str) -> list[dict[str, Any]]:
    return pod_templates(name)[1]["spec"]["containers"][0]["volumeMounts"]


def test_the_notes_program_issues_a_token(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key = Issuer.generate_key()
    (tmp_path / "keys" / "signing.pem").write_bytes(key)
    source = (CHART / "templates" / "_helpers.tpl").read_text()
    (program,) = re.findall(r'define "tessera.issue" -}}\n(.*)\n', source)
    program = program.replace('{{ include "tessera.home" . }}', str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    principal = Verifier([Issuer(key).public_key()]).verify(done.stdout.strip())
    assert principal == Principal(subject="admin", role=Role.OPERATOR)


def test_both_ends_share_one_token() -> None:
    (secret,) = of_kind("minimal", "Secret")
    controller, *others = pod_templates("minimal")
    (volume,) = [v for v in controller["spec"]["volumes"] if v["name"] == "ray-token"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    for template in others:
        env = {v["name"]: v for v in template["spec"]["containers"][0]["env"]}
        source = env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert source == {"name": secret["metadata"]["name"], "key": "auth_token"}


def test_a_given_secret_and_given_claims_are_not_made() -> None:
    assert not of_kind("tpu", "Secret") + of_kind("tpu", "PersistentVolumeClaim")


def test_accelerators_become_limits() -> None:
    gpu = pod_templates("gpu")[-1]["spec"]
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 8
    (cluster,) = of_kind("tpu", "RayCluster")
    (group,) = cluster["spec"]["workerGroupSpecs"]
    assert group["numOfHosts"] == 4
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["google.com/tpu"] == 4


def test_a_cluster_of_ones_own() -> None:
    outside = [
        "--set=pool.create=false",
        "--set=pool.dashboardUrl=http://ray:8265",
        "--set=pool.rayAddress=ray:6379",
    ]
    assert not of_kind("minimal", "RayCluster", *outside)
    (deployment,) = of_kind("minimal", "Deployment", *outside)
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--pool") + 1] == "main,http://ray:8265,ray:6379"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("controller.shrads=3", r"controller: Additional property shrads is not allowed"),
        ("controller.shards=0", r"controller\.shards: Must be greater than or equal to 1"),
        ("controller.port=80", r"controller\.port: Must be greater than or equal to 1024"),
        ("controller.persistence.size=big", r"controller\.persistence\.size: Does not match"),
        ("controller.terminationGracePeriodSeconds=5", r"Must be greater than or equal to 15"),
        ("pool.groups[0].accelerator.type=npu", r"accelerator\.type.*must be one of"),
        ("pool.groups[0].accelerator.type=gpu", r"accelerator: count is required"),
        ("pool.groups[0].name=Big Group", r"pool\.groups\.0\.name: Does not match pattern"),
        ("pool.groups[0].maxReplicas=0", r"maxReplicas: Must be greater than or equal to 1"),
        ("pool.groups[0].replicas=-1", r"replicas: Must be greater than or equal to 0"),
        ("pool.groups[0].minReplicas=2", r"group cpu wants 1 replicas, outside minReplicas 2"),
        ("pool.create=false", r"pool\.dashboardUrl is needed where pool\.create is false"),
        ("pool.rayVersion=latest", r"pool\.rayVersion: Does not match pattern"),
        ("pool.parameters.accessMode=RWX", r"pool\.parameters\.accessMode.*must be one of"),
        ("auth.token=secret", r"auth: Additional property token is not allowed"),
    ],
)
def test_bad_values_are_refused(change: str, complaint: str) -> None:
    stderr = helm(
        "template", "demo", str(CHART), "-f", values_of("minimal"), "--set", change, refused=True
    )
    assert re.search(complaint, stderr), stderr
