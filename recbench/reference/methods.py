"""Methods, as they describe themselves. Those of other packages are asked in a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbench.base.extensions import points
from recbench.errors import UsageError
from recbench.planning import registry
from recbench.planning.description import Description, check_requirements, describe
from recbench.reference.entry import NamedEntry, Preset, links_in

WRITTEN = ("presets", "space")
"""Traits that an entry shows apart from its facts."""


def names() -> list[str]:
    return list(registry.available())


def entry(name: str, root: Path | None = None) -> NamedEntry:
    """UnusablePluginError where the class cannot be used."""
    plugin = describe(name, root)
    traits = plugin.traits
    facts = {trait: getattr(traits, trait) for trait in traits.__dataclass_fields__ if trait not in WRITTEN}
    about = plugin.about or plugin.source
    further = plugin.source.partition("\n")[2].strip()
    return NamedEntry(
        kind="method",
        name=name,
        about=about if not further or further in about else f"{about}\n\n{further}",
        links=links_in(f"{plugin.source}\n{plugin.about}"),
        facts={"from": plugin.distribution, "class": plugin.place, **facts, "needs": needs(plugin)},
        parameters=plugin.details,
        tried=traits.space,
        presets=[Preset(name=key, values=values) for key, values in traits.presets.items()],
        origins=plugin.notes,
        use=f"recbench run -m {name}{_example(plugin)} -d ml-100k",
    )


def needs(plugin: Description) -> str | None:
    """The line that installs what the method requires; None where all is here."""
    try:
        check_requirements(plugin)
    except points.UnusablePluginError as error:
        return error.fix
    return None


def _example(plugin: Description) -> str:
    required = [f"{name}=VALUE" for name in plugin.required]
    return f":{','.join(required)}" if required else ""


def rows(root: Path | None = None) -> list[dict[str, Any]]:
    """A line for each method; one that cannot be used says why."""
    found = []
    for name in names():
        try:
            plugin = describe(name, root)
        except (points.UnusablePluginError, UsageError) as error:
            about = f"{error.why}; try: {error.fix}" if error.fix else error.why
            facts = dict.fromkeys(("version", "from", "needs"))
            found.append({"name": name, "kind": "unusable", **facts, "about": about})
            continue
        found.append(
            {
                "name": name,
                "kind": plugin.traits.kind,
                "version": plugin.traits.version,
                "from": plugin.distribution,
                "needs": needs(plugin),
                "about": plugin.about.partition("\n")[0],
            }
        )
    return found


def presets_of(key: str, root: Path | None = None) -> Mapping[str, Sequence[tuple[str, Any]]]:
    """By method, the presets that change the setting `key`, with their values."""

    def read(plugin: Description) -> list[tuple[str, Any]]:
        presets = plugin.traits.presets
        return [(name, values[key]) for name, values in presets.items() if key in values]

    return _over_methods(read, root)


def tried_of(key: str, root: Path | None = None) -> Mapping[str, Any]:
    """By method, the values of the setting `key` that `recbench tune` tries."""
    return _over_methods(lambda plugin: plugin.traits.space.get(key), root)


def _over_methods(read: Callable[[Description], Any], root: Path | None) -> dict[str, Any]:
    found = {}
    for name in names():
        try:
            value = read(describe(name, root))
        except (points.UnusablePluginError, UsageError):
            continue
        if value:
            found[name] = value
    return found
