"""Pages of the site that are made, not written: the start page, the API, files that pages link to.

README.md is the start page. Every module with an ``__all__`` is documented from its docstrings,
one page a wing. A file outside of docs/ that a page links to comes along.
"""

import ast
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rm_value_tasks"
LINK = re.compile(r"(?<!`)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def wings():
    """Yield (name, modules) of each wing; modules as dotted names."""
    for folder in sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()):
        names = []
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            public = not any(part.startswith("_") for part in parts if part != "__init__")
            if public and "__all__" in {
                target.id
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }:
                names.append(".".join(parts).removesuffix(".__init__"))
        if names:
            yield folder.name, names


def on_config(config):
    """Add the API's pages to the navigation."""
    config.nav.append({"API": [{name: f"api/{name}.md"} for name, _ in wings()]})
    return config


def on_files(files, config):
    """Add the made pages and the files that pages link to."""

    def add(uri, text):
        files.append(File.generated(config, uri, content=text))

    add("index.md", (ROOT / "README.md").read_text(encoding="utf-8"))
    for name, modules in wings():
        add(f"api/{name}.md", "\n\n".join([f"# {name}", *(f"::: {each}" for each in modules)]))
    waiting = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    seen = {ROOT / "README.md"}
    while waiting:
        source = waiting.pop()
        for target, _ in LINK.findall(source.read_text(encoding="utf-8")):
            path = (source.parent / target).resolve()
            if not path.is_file() or path.is_relative_to(ROOT / "docs") or path in seen:
                continue
            seen.add(path)
            uri = _uri(path)
            if path.suffix == ".md":
                add(uri, path.read_text(encoding="utf-8"))
                waiting.append(path)
            else:
                files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, **_):
    """Turn links between the repository's files into links between the site's pages."""
    at = ROOT / _source(page.file.src_uri)

    def moved(match):
        path = (at.parent / match[1]).resolve()
        if not path.exists() or not path.is_relative_to(ROOT):
            return match[0]
        if path.is_dir():
            path /= "README.md"
        up = "../" * page.file.src_uri.count("/")
        return f"]({up}{_uri(path)}{match[2] or ''})"

    return markdown if page.file.src_uri.startswith("api/") else LINK.sub(moved, markdown)


def _uri(path):
    """Return where a file of the repository lies in the site."""
    name = path.relative_to(ROOT).as_posix()
    if name == "README.md":
        return "index.md"
    return (
        name.removeprefix("docs/")
        if name.startswith("docs/")
        else f"files/{name}".replace("README.md", "about.md")
    )


def _source(uri):
    """Return the file of the repository that a page of the site comes from."""
    if uri == "index.md":
        return "README.md"
    if uri.startswith("files/"):
        return uri.removeprefix("files/").replace("about.md", "README.md")
    return f"docs/{uri}"
