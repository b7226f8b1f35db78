"""names.yaml: read by hand and as what a stranger may have written, and with the network wherever that goes."""

import contextlib
import json
import os
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from partcnn.foundation.errors import ConfigError, RunError
from partcnn.model.conversion import convert
from partcnn.model.naming import checked_name, filter_names, name_filters
from partcnn.model.saving.checkpoint import CARD_FILE, load, save, save_names
from partcnn.model.saving.exporting import file_metadata
from partcnn.model.saving.hub import push_to_hub
from partcnn.model.saving.names_file import NAMES_FILE, read_names, write_names
from partcnn.networks.demo_net import DemoNet

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    made = convert(DemoNet(), "features.block1", num_classes=2, filters=3, input_size=(32, 40))
    name_filters(made, {2: "left ear", 0: EVIL})
    return made


def _is_name(text: str) -> bool:
    try:
        return checked_name(text, "name") == text
    except ConfigError:
        return False


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(_is_name)


@given(
    names=st.dictionaries(
        st.integers(0, 99), NAMES | st.sampled_from(["no", "12", "- a", "#", "null", "x: y", "`", "''"])
    )
)
def test_what_was_written_is_read_again(names: dict[int, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("names") / NAMES_FILE
    write_names(names, file)
    assert read_names(file, 100) == names
    assert file.exists() == bool(names)


@given(text=st.binary() | st.text().map(str.encode))
def test_whatever_stands_there_it_is_names_or_one_sentence(
    text: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("names") / NAMES_FILE
    file.write_bytes(text)
    with contextlib.suppress(RunError):  # nothing else is raised
        found = read_names(file, 10)
        assert all(0 <= index < 10 and _is_name(name) for index, name in found.items())


def test_a_file_of_comments_and_one_with_a_mark_are_read(tmp_path: Path) -> None:
    file = tmp_path / NAMES_FILE
    file.write_text("# none yet\n")
    assert read_names(file, 3) == {}
    file.write_bytes(b"\xef\xbb\xbf1: ear\r\n2: 'no'\r\n")  # as an editor of Windows leaves it
    assert read_names(file, 3) == {1: "ear", 2: "no"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("3: leg", "expected a filter from 0 to 2, got 3; mend the file, or remove it"),
        ("1: no", "filter 1: expected a name, got False; put it in quotes; mend"),
        ("1: [leg]", "expected a name, got a list"),
        ("ear: 1", "expected a filter from 0 to 2, got 'ear'"),
        ("- ear", "a line NUMBER: NAME for each .it holds a list."),
        ("ear", "it holds a str"),
        ("1: ear\n1: leg", "a key stands there twice"),
        ('1: "\\e[2J"', "letters that can be seen"),
        ("1: \x1b[2J", "a line NUMBER: NAME"),
        ("1: !!python/object/apply:os.system ['true']", "a line NUMBER: NAME"),
        ("a: &a [*a]", "a line NUMBER: NAME"),
        ("[" * 100_000, "a line NUMBER: NAME"),
        ("1: " + "e" * 10**5, "got 100000"),
        ("1: " + "e" * 2**20, "it holds more than 1 MiB"),
        ("&a 1: ear\n2: \xff", "a line NUMBER: NAME"),
    ],
    ids=lambda value: value[:20].strip() if isinstance(value, str) else None,
)
def test_what_is_no_file_of_names_is_refused_in_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / NAMES_FILE
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=told) as caught:
        read_names(file, 3)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAMES_FILE)
    with pytest.raises(RunError, match="it is no plain file"):
        read_names(tmp_path / NAMES_FILE, 3)


def test_names_go_with_a_saved_network_and_are_gone_with_one_that_has_none(model: nn.Module, tmp_path: Path) -> None:
    save(model, tmp_path)
    assert filter_names(load(tmp_path)) == {0: EVIL, 2: "left ear"}
    (tmp_path / NAMES_FILE).write_text("1: by hand\n")
    again = load(tmp_path)
    assert filter_names(again) == {1: "by hand"}
    name_filters(again, {})
    save(again, tmp_path)
    assert not (tmp_path / NAMES_FILE).exists()


def test_a_directory_whose_names_are_of_other_filters_is_refused(model: nn.Module, tmp_path: Path) -> None:
    save(model, tmp_path)
    (tmp_path / NAMES_FILE).write_text("7: ear\n")
    with pytest.raises(RunError, match=f"{NAMES_FILE}: expected a filter from 0 to 2, got 7"):
        load(tmp_path)


def test_names_alone_are_written_beside_the_network(model: nn.Module, tmp_path: Path) -> None:
    name_filters(model, {})
    save(model, tmp_path)
    before = {file: (tmp_path / file).read_bytes() for file in ("config.json", "model.safetensors")}
    name_filters(model, {1: "nose"})
    assert save_names(model, tmp_path) == tmp_path / NAMES_FILE
    assert {file: (tmp_path / file).read_bytes() for file in before} == before
    assert '{"1": "nose"}' in (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    with pytest.raises(RunError, match="expected a directory written by"):
        save_names(model, tmp_path / "other")


def test_the_card_lists_names_as_code(model: nn.Module, tmp_path: Path) -> None:
    name_filters(model, {0: EVIL, 1: "``` # head", 2: "| a | [b](c)"})
    save(model, tmp_path)
    text = (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    code = text.split("```")[1::2]
    assert EVIL in code[-1]
    assert text.count(EVIL) == 1
    assert len(code) == 3  # Python, classes and names: the name ended no block


def test_a_card_is_written_where_the_names_cannot_be_read(model: nn.Module, tmp_path: Path) -> None:
    save(model, tmp_path)
    (tmp_path / NAMES_FILE).write_text("[" * 1000)
    name_filters(model, {})
    save(model, tmp_path)
    assert EVIL not in (tmp_path / CARD_FILE).read_text(encoding="utf-8")


def test_an_exported_file_carries_the_names(model: nn.Module) -> None:
    assert json.loads(json.dumps(file_metadata(model)))["filter_names"] == {"0": EVIL, "2": "left ear"}


def test_names_go_up_to_the_hub_and_old_ones_are_taken_down(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Api:
        def __init__(self, token: str | None = None) -> None:
            pass

        def create_repo(self, repo_id: str, **_: object) -> None:
            pass

        def upload_folder(self, **given: object) -> object:
            calls.append(given)
            return type("Commit", (), {"commit_url": "hub"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    save(model, tmp_path)
    push_to_hub(tmp_path, "me/animals")
    assert NAMES_FILE in calls[0]["allow_patterns"]
    assert NAMES_FILE in calls[0]["delete_patterns"]
    (tmp_path / NAMES_FILE).write_text("- ear")
    with pytest.raises(RunError, match="it holds a list"):
        push_to_hub(tmp_path, "me/animals")
