"""Configurations: bases, fragments and what is told of them, whichever folder they lie in."""

import pytest

from vofp_plugin.runs.configuration import load_yaml, pretrained_yaml, resolve_yaml, settings


@pytest.fixture
def write(tmp_path):
    """Function that writes files below a folder with a space in its name, and gives the last."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / "a folder" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path

    return write


def values(path, **overrides):
    return settings(resolve_yaml(path, overrides))


def test_fragment_of_a_base_in_another_folder(write):
    yaml = write(
        far__fragments__part="size: 1\nwidth: 2\n",
        far__base="part: !include:fragments/part.yaml\n    size: 3\n",
        mine="base: far/base.yaml\n",
    )
    assert values(yaml) == {"part": "size: 3 width: 2"}
    with pytest.raises(ValueError, match="part in .*mine.yaml .* has keys that .*does not: hight"):
        load_yaml(yaml, {"part": {"hight": 1}}, ["part"])


def test_fragment_beside_the_file_that_names_it(write):
    yaml = write(
        far__base="part: !include:part.yaml\n",
        far__part="size: 1\n",
        part="size: 2\n",
        mine="base: far/base.yaml\npart: !include:part.yaml\n",
    )
    assert values(yaml) == {"part": "size: 2"}


def test_later_bases_win_and_keys_are_replaced_whole(write):
    yaml = write(
        first="a: 1\nb: {c: 2, d: 3}\n",
        second="a: 4\n",
        third="b: {c: 5}\n",
        mine="base: [first.yaml, second.yaml, third.yaml]\n",
    )
    assert values(yaml) == {"a": "4", "b": "c: 5"}
    assert values(yaml, b={"c": 6}) == {"a": "4", "b": "c: 6"}


def test_new_key_needs_something_that_reads_it(write):
    yaml = write(base="a: 1\n", mine="base: base.yaml\na: !ref <b>\nb: 2\n")
    assert load_yaml(yaml, {"b": 3}, ["a"]) == {"a": 3, "b": 3}
    yaml = write(lost="base: base.yaml\nb: 2\n")
    with pytest.raises(ValueError, match="lost.yaml has keys that its base does not: b. Keys"):
        load_yaml(yaml, {}, ["a"])


def test_key_that_is_read_no_more_stays_but_cannot_be_overridden(write):
    yaml = write(base="a: !ref <b>\nb: 2\n", mine="base: base.yaml\na: 1\n")
    assert load_yaml(yaml, {}, ["a"]) == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="keys that nothing reads: b"):
        load_yaml(yaml, {"b": 3}, ["a"])


def test_settings_name_what_they_share(write):
    yaml = write(mine="a: !new:x.A\n    size: [1, 2]\nb: !new:x.B\n    a: !ref <a>\nc: null\n")
    expected = {"a": "!new:x.A size: [1, 2]", "b": "!new:x.B a: <a>", "c": ""}
    assert values(yaml) == expected


def test_pretrained_keeps_what_inference_needs():
    model = "model: &m !new:x.A\n  size: 1\n"
    text = f"seed: 0\nfront_end: 1\n{model}modules:\n  model: *m\n"
    assert {"front_end", "model", "modules", "pretrainer"} < settings(pretrained_yaml(text)).keys()
    assert "seed" not in settings(pretrained_yaml(text))


@pytest.mark.parametrize("text", ["- 1\n", "seed\n", "a: 1\na: 2\n"])
def test_file_of_another_form(write, text):
    with pytest.raises(ValueError, match="mine.yaml .*is no valid YAML"):
        values(write(mine=text))
