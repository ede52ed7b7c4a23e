"""Desired states of server roles."""

import pytest

from kilter.errors import DataError
from kilter.stores.deployment import Deployment, NotDeployed, read_deployment, write_deployment
from kilter.stores.objects import MemoryObjects

HELD = Deployment(model="m", version=3, key="models/m/abc", digest="abc")


def test_what_is_deployed_is_read_back_for_its_role_alone():
    objects = MemoryObjects()
    write_deployment(objects, "canary", "m", HELD)
    assert read_deployment(objects, "canary", "m") == HELD
    with pytest.raises(NotDeployed, match=r"serving/m/champion.json is absent: .*deploy the model again"):
        read_deployment(objects, "champion", "m")


def test_what_is_withdrawn_is_gone():
    objects = MemoryObjects()
    write_deployment(objects, "canary", "m", HELD)
    write_deployment(objects, "canary", "m", None)
    assert read_deployment(objects, "canary", "m") is None


def test_garbage_is_a_data_error_that_names_the_object():
    objects = MemoryObjects()
    objects.put("serving/m/canary.json", b"{}")
    with pytest.raises(DataError, match=r"serving/m/canary.json is no desired state"):
        read_deployment(objects, "canary", "m")
