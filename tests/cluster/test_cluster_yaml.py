"""cluster.yaml: against Ray's own schema, and against what it promises."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "cluster.yaml").read_text()
IN_THE_IMAGE = {"ray", "torch"}


@pytest.fixture
def cluster() -> dict[str, Any]:
    return dict(yaml.safe_load(TEXT))


def validate(cluster: dict[str, Any]) -> None:
    reason = "Ray's private functions that validate a cluster file have moved"
    util = pytest.importorskip("ray.autoscaler._private.util", reason=reason)
    if not (hasattr(util, "prepare_config") and hasattr(util, "validate_config")):
        pytest.skip(reason)
    util.validate_config(util.prepare_config(copy.deepcopy(cluster)))


def test_the_launcher_accepts_it(cluster: dict[str, Any]) -> None:
    validate(cluster)


def test_the_launcher_refuses_a_misspelt_key(cluster: dict[str, Any]) -> None:
    cluster["idle_timeout_minuets"] = 5
    with pytest.raises(Exception, match="idle_timeout_minuets"):
        validate(cluster)


def test_the_head_takes_no_work_and_the_dashboard_no_strangers(cluster: dict[str, Any]) -> None:
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"] == {"CPU": 0}
    assert any("--dashboard-host=127.0.0.1" in command for command in cluster["head_start_ray_commands"])
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert "~/.ray/auth_token" in cluster["file_mounts"]


def test_engines_are_spot_and_come_from_none_while_head_and_readers_stay(cluster: dict[str, Any]) -> None:
    groups = cluster["available_node_types"]
    spot = {name for name, group in groups.items() if "InstanceMarketOptions" in group["node_config"]}
    assert spot == {name for name, group in groups.items() if group["labels"]["market"] == "spot"} == {"gpu"}
    assert groups["gpu"]["min_workers"] == 0
    assert groups["cpu"]["min_workers"] >= 1


def test_nodes_reach_storage_by_their_role_and_no_key_stands_in_the_file(cluster: dict[str, Any]) -> None:
    assert all("IamInstanceProfile" in group["node_config"] for group in cluster["available_node_types"].values())
    assert not re.search(r"AKIA|aws_(access|secret)|AWS_(ACCESS|SECRET)|ssh_private_key", TEXT)


def test_the_nodes_install_what_the_package_needs(cluster: dict[str, Any]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = set(project["dependencies"]) | set(project["optional-dependencies"]["ocr"])
    wanted = {requirement for requirement in wanted if re.split(r"[\[<>=]", requirement)[0] not in IN_THE_IMAGE}
    assert set(re.findall(r'"([^"]+)"', " ".join(cluster["setup_commands"]))) == wanted


def test_the_image_carries_the_ray_version_of_the_project(cluster: dict[str, Any]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (ray,) = (requirement for requirement in project["dependencies"] if requirement.startswith("ray["))
    version = re.search(r":(\d+\.\d+)\.\d+-py311-", cluster["docker"]["image"])
    assert version is not None
    assert f">={version[1]}," in ray
