"""The page's files by reading them: whole, self-contained, and without a way to turn text into HTML."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

UI = files("ownlm.serve").joinpath("ui")
SOURCES = {file.name: file.read_text(encoding="utf-8") for file in UI.iterdir()}
SCRIPTS = sorted(name for name in SOURCES if name.endswith(".js"))


def test_what_the_page_refers_to_is_there() -> None:
    html = SOURCES["index.html"]
    assert set(re.findall(r'(?:src|href)="/ui/([^"]+)"', html)) <= set(SOURCES)
    imported = {
        name for script in SCRIPTS for name in re.findall(r'from "\./([^"]+)"|import "\./([^"]+)"', SOURCES[script])
    }
    assert {name for pair in imported for name in pair if name} <= set(SCRIPTS)
    for script in SCRIPTS:
        for identifier in re.findall(r'byId\("([^"]+)"\)', SOURCES[script]):
            assert f'id="{identifier}"' in html, (script, identifier)
        for icon in re.findall(r'icon(?:Button)?\("([^"]+)"', SOURCES[script]):
            assert f'id="icon-{icon}"' in html, (script, icon)


def test_every_name_that_is_imported_is_exported() -> None:
    for script in SCRIPTS:
        for names, source in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', SOURCES[script]):
            for name in (each.strip() for each in names.split(",")):
                exported = rf"export (?:async )?(?:function\*?|const|let|class) {name}\b"
                assert re.search(exported, SOURCES[source]), (script, name)
                assert len(re.findall(rf"\b{name}\b", SOURCES[script])) > 1, f"{script} imports {name} for nothing"


def test_nothing_is_inline_and_nothing_is_elsewhere() -> None:
    html = SOURCES["index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    for name, text in SOURCES.items():
        elsewhere = [
            url for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", text) if "www.w3.org" not in url
        ]
        assert elsewhere == [], name
        assert "@import" not in text and "@font-face" not in text, name


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_makes_html_or_code_from_text(script: str) -> None:
    html = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc"
    sinks = html + r"|\beval\(|new Function"
    assert not re.search(sinks, SOURCES[script])
    assert len(SOURCES[script].splitlines()) < 200
