"""Reads a charm as ops and charmcraft do, and fails where one of them does not take it.

Usage: accept.py <directory of the packed charm> <directory of the sources, with charmcraft.yaml>
"""

import pathlib
import sys
import warnings

import ops
import yaml
from charmcraft.models.config import JujuConfig
from charmcraft.models.manifest import Manifest
from charmcraft.models.metadata import CharmMetadata
from charmcraft.models.project import CharmcraftProject
from ops import testing

EVENTS = ["install", "config_changed", "start", "leader_elected", "update_status", "upgrade_charm", "stop", "remove"]
SAMPLES = {"string": "/path", "integer": 1, "boolean": True}


class Silent(ops.CharmBase):
    """Observes every action and does nothing."""

    def __init__(self, framework):
        super().__init__(framework)
        for name in self.meta.actions:
            framework.observe(self.on[name].action, self._done)

    def _done(self, event):
        pass


def played(metadata, config, actions):
    """Plays every event of the charm; ops checks each against the charm's files."""
    context = testing.Context(Silent, meta=metadata, config=config, actions=actions)
    for event in EVENTS:
        context.run(getattr(context.on, event)(), testing.State(leader=True))
    for name, endpoint in metadata["provides"].items():
        relation = testing.Relation(name, interface=endpoint["interface"], remote_units_data={0: {"key": "value"}})
        for event in [
            context.on.relation_created(relation),
            context.on.relation_joined(relation, remote_unit=0),
            context.on.relation_changed(relation, remote_unit=0),
            context.on.relation_departed(relation, remote_unit=0, departing_unit=0),
            context.on.relation_broken(relation),
        ]:
            context.run(event, testing.State(leader=True, relations={relation}))
    for name in metadata["storage"]:
        storage = testing.Storage(name)
        context.run(context.on.storage_attached(storage), testing.State(storages={storage}))
    for name, action in actions.items():
        given = {
            key: schema.get("enum", [SAMPLES[schema["type"]]])[0] for key, schema in action.get("params", {}).items()
        }
        context.run(context.on.action(name, params=given), testing.State())


def main(packed, sources):
    def read(name):
        return yaml.safe_load((packed / name).read_text())

    metadata, config, actions = read("metadata.yaml"), read("config.yaml"), read("actions.yaml")
    ops.CharmMeta.from_yaml((packed / "metadata.yaml").read_text(), (packed / "actions.yaml").read_text())
    played(metadata, config, actions)
    CharmMetadata.model_validate(metadata)
    JujuConfig.model_validate(config)
    Manifest.model_validate(read("manifest.yaml"))
    # Reads the metadata, configuration and actions beside it, too.
    project = CharmcraftProject.from_yaml_file(sources / "charmcraft.yaml")
    assert project.name == metadata["name"], project.name


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*map(pathlib.Path, sys.argv[1:]))
