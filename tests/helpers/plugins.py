"""Installing a small package that offers plugins, for the tests of entry points."""

import sys
import textwrap


def install(tmp_path, monkeypatch, package, groups, module, code=None, version="1.2"):
    """Put a package with entry points, and its module with ``code``, on ``sys.path``.

    ``groups`` is, for example, ``{"psmpi.codecs": {"natural": "acme:Natural"}}``.
    """
    folder = tmp_path / package
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    )
    lines = []
    for group, entries in groups.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    if code is not None:
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(folder)
