"""One exercise folder of Timeloop (arch, prob, map or constraints, ref-output) and which files a run of it used."""

import re
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.mapping import Keep, Mapping, Node
from aisys.cost.loop_nest.timeloop.architecture import read_architecture
from aisys.cost.loop_nest.timeloop.mapping import directives_of, read_mapping
from aisys.cost.loop_nest.timeloop.problem import read_problem
from aisys.cost.loop_nest.timeloop.stats import Stats, run
from aisys.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """`folder` holds the inputs; `outputs` what the run printed, its energy table among it."""

    folder: Path
    outputs: Path

    def stats(self) -> Stats:
        """What the run prints. Raises BadInput where an input is missing, or the mapping was searched for.

        Of a mapper's run, constraints that leave only the bypass of levels open are tried one by one, and the first of
        least cycles and then energy is taken.
        """
        has_mapping = (self.folder / "map").is_dir()
        if not has_mapping and not (self.folder / "constraints").is_dir():
            raise BadInput(f"{self.folder.name} has no mapping, and no constraints; the mapping was searched for")
        energies = _only(self.outputs, "*ERT*.yaml")
        architecture = read_architecture(_only(self.folder / "arch", "*.yaml"), energies)
        einsum = read_problem(_only(self.folder / "prob", "*.yaml"))
        if has_mapping:
            mapping = read_mapping(self._chosen("map"), architecture, einsum)
            return run(einsum, architecture, mapping)
        path = self._chosen("constraints")
        mapping = read_mapping(path, architecture, einsum, "mapspace_constraints")
        has_bypass = any(d.get("type") in ("dataspace", "datatype", "bypass") for d in directives_of(path))
        choices = [mapping] if has_bypass else _bypasses(mapping, einsum)
        found = [run(einsum, architecture, one) for one in choices]
        return min(found, key=lambda stats: (stats.cycles, stats.energy_joule))

    def _chosen(self, kind: str) -> Path:
        """The file of `kind` that the run's name means: the one whose own words the name says, and no others."""
        files = sorted((self.folder / kind).glob("*.yaml"))
        if len(files) == 1:
            return files[0]
        runs = [p.name for p in sorted(self.outputs.parent.iterdir()) if p.is_dir()]
        named = {run: _named(run, files) for run in runs}
        mine = named.get(self.outputs.name)
        rest = [file for file in files if file not in named.values()]
        if mine is None and len(rest) == 1 and sum(file is None for file in named.values()) == 1:
            mine = rest[0]
        if mine is None:
            raise BadInput(f"{self.folder.name}: none of {', '.join(f.name for f in files)} is named like the run")
        return mine


def _named(name: str, files: list[Path]) -> Path | None:
    """The file that a run's name means: `no-x` is the file without word x, x the file with it."""
    words = {file: _words(file.name) for file in files}
    shared = set.intersection(*words.values())
    own = {file: found - shared for file, found in words.items()}
    said = _words(name)
    if "no" in said:
        fitting = [file for file, found in own.items() if not found & said]
    else:
        fitting = [file for file, found in own.items() if found & said]
    return fitting[0] if len(fitting) == 1 else None


def _words(name: str) -> set[str]:
    """The words of a file or folder name, without endings: tiling and tiled are one word."""
    return {re.sub(r"(ing|ed)$", "", word) for word in re.split(r"[-_.]", name)}


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise BadInput(f"{folder.parent.name}/{folder.name} has {len(found)} files {pattern}; give one")
    return found[0]


def _bypasses(mapping: Mapping, einsum: Einsum) -> list[Mapping]:
    """The nest with every choice of what passes by each level but the outermost."""
    names = [operand.name for operand in einsum.operands]
    inner = [node for node in mapping.nodes if isinstance(node, Keep)][1:]
    found = []
    for choice in product((True, False), repeat=len(inner) * len(names)):
        taken = iter(choice)
        kept = {node.level: tuple(name for name in names if next(taken)) for node in inner}
        nodes: list[Node] = []
        for node in mapping.nodes:
            if isinstance(node, Keep) and node.level in kept:
                nodes += [replace(node, operands=kept[node.level])] if kept[node.level] else []
            else:
                nodes.append(node)
        found.append(Mapping(tuple(nodes)))
    return found
