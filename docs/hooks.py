"""What the site does to pages as they are built, so that the same files read well on it and in the repository.

mkdocs calls the functions whose names begin with `on_` (`hooks:` in mkdocs.yml).
"""

import posixpath
import re
from html import escape, unescape
from pathlib import Path
from typing import NamedTuple

import networkx
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
LINK = re.compile(r"(?<!!)\[([^\]\[]*)\]\((?!https?:|mailto:|#)([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LOADS = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*(?:src|href)=[\"'](?:https?:)?//[^>]*>")
IN_CODE = re.compile(r"(<code>)([^<]+)(</code>)")
SEARCH = 'data-md-component="search" role="dialog"'
FUNCTION = re.compile(r"\\(log|exp|max|min) (?=[\w\\])")
BRANCH = "blob/main"  # of the repository that `repo_url` names, once there is one
log = get_plugin_logger("partcnn")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of the repository's root that belong on the site, too."""
    for source, target in ROOT_PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of docs/ go to the repository where `repo_url` is set, else they become text; diagrams are drawn."""
    source = page.file.src_uri
    inverse = {target: name for name, target in ROOT_PAGES.items()}
    folder = posixpath.dirname(inverse.get(source, f"docs/{source}"))
    pieces, end = [], 0
    for fence in FENCE.finditer(markdown):
        pieces += [LINK.sub(lambda link: target_of(link, folder, page, config), markdown[end : fence.start()])]
        pieces += [drawn(fence.group())]
        end = fence.end()
    pieces += [LINK.sub(lambda link: target_of(link, folder, page, config), markdown[end:])]
    return "".join(pieces)


def target_of(link: re.Match[str], folder: str, page: Page, config: MkDocsConfig) -> str:
    """A link of a page as the site needs it.

    Args:
        link: a match of `LINK`.
        folder: where the page lies in the repository.
    """
    text, address, anchor = link[1], link[2], link[3] or ""
    path = posixpath.normpath(posixpath.join(folder, address))
    if not (ROOT / path).exists():
        log.warning(f"{page.file.src_uri}: {address} is linked and not there")
        return link[0]
    on_site = "index.md" if path == "README.md" else ROOT_PAGES.get(path) or path.removeprefix("docs/")
    is_on_site = on_site != path and not path.endswith(".py") and (ROOT / path).is_file()
    if path == "docs/results":
        on_site, is_on_site = "results/README.md", True
    if is_on_site:
        return f"[{text}]({posixpath.relpath(on_site, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"
    if config.repo_url:
        return f"[{text}]({config.repo_url.rstrip('/')}/{BRANCH}/{path}{anchor})"
    return text if posixpath.basename(path) in text else f"{text} (`{path}`)"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """A warning, which is an error, where a page would load something from the network; the search gets a name."""
    for tag in LOADS.findall(output):
        log.warning(f"{page.file.src_uri}: loads from the network: {tag}")
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"')


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mathematics as MathML, which browsers draw without a script; in tables long names break where one would."""
    html = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", html)  # a corner that heads nothing
    html = re.sub(r"<td[^>]*>.*?</td>", lambda cell: IN_CODE.sub(breakable, cell[0]), html, flags=re.DOTALL)
    html = re.sub(r'<span class="arithmatex">\\\((.+?)\\\)</span>', lambda found: mathml(found[1], "inline"), html)
    return re.sub(
        r'<div class="arithmatex">\\\[(.+?)\\\]</div>', lambda found: mathml(found[1], "block"), html, flags=re.DOTALL
    )


def breakable(code: re.Match[str]) -> str:
    """Code that may break behind a slash, a point or an underscore."""
    return code[1] + re.sub(r"(?<=[/_.])(?=\w)", "<wbr>", code[2]) + code[3]


def mathml(latex: str, display: str) -> str:
    """A formula; one that stands alone can be scrolled where the page is narrow."""
    spaced = FUNCTION.sub(r"\\\1\\, ", unescape(latex.strip()))  # MathML sets no space after a function's name
    formula: str = convert(spaced, display=display)
    return f'<div class="formula" tabindex="0">{formula}</div>' if display == "block" else formula


class Node(NamedTuple):
    """A box of a flowchart: its lines, its middle and its size, in units of the drawing."""

    lines: list[str]
    x: float
    y: float
    width: float
    height: float


def drawn(fence: str) -> str:
    """A Mermaid flowchart of floors as SVG, in the page's own colours; other fences as they are."""
    if not fence.startswith("```mermaid"):
        return fence
    titles = dict(re.findall(r'^\s*(\w+)\["(.+?)"\]\s*$', fence, flags=re.MULTILINE))
    arrows = [
        (lower.strip(), upper.strip())
        for line in re.findall(r"^(.+-->.+)$", fence, flags=re.MULTILINE)
        for lower in line.split("-->")[0].split("&")
        for upper in line.split("-->")[1].split("&")
    ]
    graph = networkx.DiGraph(arrows)
    floors = [*networkx.topological_generations(graph)]
    row, column, width = 108, 216, 200
    total = max(len(floor) for floor in floors) * column
    nodes = {}
    for number, floor in enumerate(floors):
        y = (len(floors) - number - 0.5) * row
        for place, name in enumerate(sorted(floor, key=[*titles].index)):
            lines = titles[name].split("<br>")
            x = total / 2 + (place - (len(floor) - 1) / 2) * column
            nodes[name] = Node(lines, x, y, width, 22 + 17 * len(lines))
    parts = [curve(nodes[lower], nodes[upper]) for lower, upper in arrows] + [box(node) for node in nodes.values()]
    says = escape("; ".join(f"{', '.join(graph.successors(name))} on {name}" for name in titles if graph[name]))
    return (
        f'<figure class="diagram" tabindex="0"><svg viewBox="0 0 {total} {len(floors) * row}" role="img" '
        f'aria-label="What stands on what: {says}">{"".join(parts)}</svg></figure>\n'
    )


def curve(lower: Node, upper: Node) -> str:
    start, end = lower.y - lower.height / 2, upper.y + upper.height / 2
    middle = (start + end) / 2
    return f'<path d="M{lower.x:g} {start:g}C{lower.x:g} {middle:g} {upper.x:g} {middle:g} {upper.x:g} {end:g}"/>'


def box(node: Node) -> str:
    x, y = node.x - node.width / 2, node.y - node.height / 2
    rows = "".join(
        f'<tspan x="{node.x:g}" y="{y + 23 + 17 * number:g}">{escape(line)}</tspan>'
        for number, line in enumerate(node.lines)
    )
    frame = f'<rect x="{x:g}" y="{y:g}" width="{node.width:g}" height="{node.height:g}" rx="6"/>'
    return f'{frame}<text class="box">{rows}</text>'
