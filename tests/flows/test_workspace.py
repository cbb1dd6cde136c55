"""Parameters of flows in Prefect: no path and no setting is stored."""

import importlib
import inspect
import pkgutil

import pytest
from prefect import Flow

import flows
from flows.settings import Settings
from flows.workspace import PrivatePath

FLOWS = sorted(
    {
        value
        for module in pkgutil.walk_packages(flows.__path__, "flows.")
        if not module.name.startswith(("flows.__main__", "flows.cli."))
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, Flow)
    },
    key=lambda found: found.name,
)


def test_the_flows_are_found():
    assert {"demo", "ingest", "rescore", "monitor", "erase", "register", "crossvalidate"} <= {found.name for found in FLOWS}


@pytest.mark.parametrize("found", FLOWS, ids=lambda found: found.name)
def test_prefect_stores_no_path_that_a_flow_receives(found, tmp_path):
    parameters = inspect.signature(found.fn, eval_str=True).parameters.values()
    assert [parameter.name for parameter in parameters if "Path" in str(parameter.annotation).replace("PrivatePath", "")] == []
    paths = [parameter.name for parameter in parameters if "PrivatePath" in str(parameter.annotation)]
    stored = found.serialize_parameters(dict.fromkeys(paths, PrivatePath(tmp_path / "Ada Lovelace")))
    assert stored == dict.fromkeys(paths, "<PrivatePath>")
    assert not paths or not found.should_validate_parameters, "a check of the type would copy the path"


@pytest.mark.parametrize("found", [found for found in FLOWS if "settings" in inspect.signature(found.fn).parameters], ids=str)
def test_prefect_stores_no_setting(found):
    settings = Settings.model_construct(store="file:///home/ada/store")
    assert found.serialize_parameters({"settings": settings}) == {"settings": {}}
