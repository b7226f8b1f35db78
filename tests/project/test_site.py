"""What the site makes of pages and docstrings (docs/hooks.py, docs/docstrings.py); `make docs` builds it, strictly."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

for tool in ("mkdocs", "griffe", "latex2mathml"):
    pytest.importorskip(tool, reason="the site's tools are of the extra docs")

DOCS = Path(__file__).parents[2] / "docs"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks, docstrings = loaded("hooks"), loaded("docstrings")


def on_site(markdown: str, page: str = "architecture.md", repo_url: str | None = None) -> str:
    source = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    text: str = hooks.on_page_markdown(markdown, source, SimpleNamespace(repo_url=repo_url), None)
    return text


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("architecture.md", "[`mask.py:1`](../src/partcnn/model/mask.py#L1)", "`mask.py:1`"),
        ("architecture.md", "[the mask](../src/partcnn/model/mask.py)", "the mask (`src/partcnn/model/mask.py`)"),
        ("results/README.md", "[figures](../metrics.md#nmi)", "[figures](../metrics.md#nmi)"),
        ("index.md", "[how](../CONTRIBUTING.md)", "[how](contributing.md)"),
        ("contributing.md", "[why](docs/architecture.md)", "[why](architecture.md)"),
        ("howto/loops.md", "[elsewhere](https://a.b/c.md)", "[elsewhere](https://a.b/c.md)"),
        ("howto/loops.md", "[start](../../README.md)", "[start](../index.md)"),
    ],
)
def test_a_link_leads_somewhere_on_the_site_or_is_text(page: str, link: str, expected: str) -> None:
    assert on_site(f"See {link}.", page) == f"See {expected}."


def test_with_a_repository_links_out_of_the_pages_lead_there() -> None:
    told = on_site("[the mask](../src/partcnn/model/mask.py#L1)", repo_url="https://a.b/partcnn/")
    assert told == "[the mask](https://a.b/partcnn/blob/main/src/partcnn/model/mask.py#L1)"


def test_a_link_to_what_is_not_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    on_site("[gone](../src/partcnn/gone.py)")
    assert "gone.py is linked and not there" in caplog.text


def test_code_is_left_as_it_is() -> None:
    code = "```python\nx = [a](../src/b.py)\n```"
    assert on_site(code) == code


def test_the_house_is_drawn_with_all_its_packages_and_arrows() -> None:
    drawn = on_site((DOCS / "architecture.md").read_text(encoding="utf-8"))
    assert "```mermaid" not in drawn
    assert drawn.count("<rect") == 12
    assert drawn.count("<path") >= 15
    heights = {name: float(y) for y, name in re.findall(r'<tspan x="[\d.]+" y="([\d.]+)">(\w+)</tspan>', drawn)}
    assert heights["app"] < heights["reporting"] < heights["training"] < heights["model"] < heights["foundation"]


def test_mathematics_needs_no_script() -> None:
    drawn = hooks.on_page_content(r'<p><span class="arithmatex">\(a &lt; \log b\)</span></p>', None, None, None)
    assert "<math" in drawn
    assert "arithmatex" not in drawn


def test_a_page_that_loads_from_the_network_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))
    hooks.on_post_page('<a href="https://a.b">text</a><script src="assets/own.js"></script>', page, None)
    assert caplog.text == ""
    hooks.on_post_page('<script src="https://a.b/c.js"></script>', page, None)
    assert "loads from the network" in caplog.text


def test_shapes_of_a_functions_head_are_told() -> None:
    head = [
        "def f(",
        "    maps: Tensor,  # [image, filter]",
        "    *,",
        "    tau: float,",
        ") -> Tensor:  # [filter]",
        '    """It.',
    ]
    assert docstrings.shapes_of(head) == ["`maps`: &#91;image, filter&#93;", "&#91;filter&#93;"]


def test_arguments_that_share_a_sentence_each_have_it() -> None:
    told = docstrings.with_own_lines(
        "It.\n\nArgs:\n    tau, beta: of the\n        templates.\n\nRaises:\n    A, B: never.\n"
    )
    assert "    tau: of the\n        templates.\n    beta: of the\n        templates.\n" in told
    assert "    A, B: never." in told
