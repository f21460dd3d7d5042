"""One file of the modules that read a machine, for a machine where nothing may be installed."""

from __future__ import annotations

import ast
from pathlib import Path

_FOLDER = Path(__file__).parent / "facts"
_MODULES = ("root", "sysctls", "machine", "virtual", "storage", "software", "saved", "snapshot")
"""In this order each one finds what it uses above itself."""

_HEAD = '''#!/usr/bin/env python3
"""What this machine is set to, as canonical JSON: python3 node_facts.py --out NAME.json

Reads only, needs no root and nothing but Python 3.8 or later. Made by `opslib node facts
--script`; read it, it is the program itself.
"""

from __future__ import annotations

'''
_TAIL = '\n\nif __name__ == "__main__":\n    raise SystemExit(main(sys.argv[1:]))\n'


def one_file() -> str:
    """Return the program: each module without its imports, which stand once at the top."""
    imports: set[str] = set()
    bodies = []
    for name in _MODULES:
        text = (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
        body = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                source = "\n".join(body[node.lineno - 1 : node.end_lineno])
                if "opslib" not in source and "__future__" not in source:
                    imports.add(source)
                body[node.lineno - 1 : node.end_lineno] = [""] * _height(node)
        doc = ast.parse(text).body[0]
        body[doc.lineno - 1 : doc.end_lineno] = [""] * _height(doc)
        bodies.append(f"# {name}\n\n" + "\n".join(body).strip("\n"))
    return _HEAD + "\n".join(sorted(imports)) + "\n\n\n" + "\n\n\n".join(bodies) + _TAIL


def _height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
