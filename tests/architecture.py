"""Prints how the rooms of llmstudy rest on each other, as a Mermaid flow chart of their imports.

python tests/architecture.py

The floors are those that import-linter holds (pyproject.toml), the modules below `tables` one room,
`ground`. An arrow is left out where a longer way leads to the same room.
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "llmstudy"
GROUND = "ground"


def floors() -> list[list[str]]:
    """The rooms of each floor, from the roof down."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = document["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [layer.replace(":", "|").replace(" ", "").split("|") for layer in layers]
    above = [floor for floor in rooms[: rooms.index(["tables"]) + 1] if floor != ["__main__"]]
    return [*above, [GROUND]]


def imports(rooms: set[str]) -> set[tuple[str, str]]:
    """Each pair of rooms of which the first imports the second."""
    pairs = set()
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        importer = _room(".".join(file.relative_to(ROOT).with_suffix("").parts), rooms)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for imported in _names(node):
                pairs.add((importer, _room(imported, rooms)))
    return {(a, b) for a, b in pairs if a and b and a != b}


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
        return [f"{PACKAGE}.{one.name}" for one in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _room(module: str, rooms: set[str]) -> str | None:
    """The room of a module; None for what is outside the package, or its face."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    if package != PACKAGE or not name or name.startswith("__"):
        return None
    return name if name in rooms else GROUND


def thinned(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs that no way of two steps or more makes needless (transitive reduction)."""
    below: dict[str, set[str]] = {}
    for a, b in pairs:
        below.setdefault(a, set()).add(b)

    def reached(room: str) -> set[str]:
        direct = below.get(room, set())
        return direct.union(*(reached(other) for other in direct))

    return {(a, b) for a, b in pairs if not any(b in reached(c) for c in below[a] - {b})}


def chart() -> str:
    """The flow chart: a line for each floor, then one for each room with what it rests on."""
    order = floors()
    rooms = [room for floor in order for room in floor]
    arrows = thinned(imports(set(rooms)))
    lines = ["flowchart TD"]
    for floor in order:
        lines.append("    " + "; ".join(floor))
    for room in rooms:
        below = [other for other in rooms if (room, other) in arrows]
        if below:
            lines.append(f"    {room} --> {' & '.join(below)}")
    return "\n".join(["```mermaid", *lines, "```"])


if __name__ == "__main__":
    print(chart())
