"""The paper's baselines are specified in full, each can be built and run at tiny size, and the checklist tells."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from miras.chat.load import Loaded
from miras.cli.main import call
from miras.core.errors import InputError
from miras.eval.systems.faithful import Expected, Faithful, checklist, summary, systems
from miras.train import run
from miras.train.data.targets import moved
from miras.train.recipe import recipe as recipes
from miras.train.stages import training_module
from tests import checkpoints, hub
from tests.eval.systems.test_plain_agent import call as tool
from tests.eval.tasks.test_instructpart import make_folder
from tests.train.tiny import corpus

TRAINED = [name for name, one in systems().items() if one.recipe]
SWITCHES = {  # detail tower, alignment, mask encoder, memory, faults of the released code
    "lisa-7b": (False, False, False, False, False), "miras-released": (True, True, True, True, True),
    "miras-fixed": (True, True, True, True, False), "omg-llava-like": (False, False, True, True, False),
}  # fmt: skip


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """Tiny checkpoints of the hub, photos, parts with instructions."""
    folder = tmp_path_factory.mktemp("baselines")
    (folder / "values.json").write_text(json.dumps(hub.miras_7b(folder)))
    corpus(folder / "photos")
    return folder


def test_every_baseline_of_the_paper_is_there_with_all_that_it_takes():
    assert list(systems()) == [
        "lisa-7b", "miras-released", "miras-fixed", "omg-llava-like", "grounded-sam", "sam3-agent"
    ]  # fmt: skip
    for one in systems().values():
        assert bool(one.recipe) != bool(one.model and one.talker and one.segmenter), one.name
        assert one.architecture and one.data and one.expected
        assert all(0 < row.giou < 100 and row.source in ("paper", "notes", "guess") for row in one.expected)


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_one_is_built_takes_a_step_of_each_stage_and_talks(where, name):
    one = systems()[name]
    chain = recipes.load(one.recipe, list(one.set))
    values = {**json.loads((where / "values.json").read_text()), **chain.recipes[0].start.config}
    data = corpus(where / "photos")
    for stage, recipe in enumerate(chain.recipes, 1):
        small = replace(
            recipe, start=replace(recipe.start, preset="miras-tiny", config=values), device="cpu",
            precision="float32", frozen="float32", batch=replace(recipe.batch, photos=1, accumulate=1, workers=0),
        )  # fmt: skip
        module = training_module.build(small)
        config = module.model.config
        memory = chain.recipes[1].history.get("memory", True)
        switches = (config.use_detail_tower, config.use_alignment, config.use_mask_encoder, memory, config.paper_bugs)
        assert switches == SWITCHES[name]
        batch = moved(run.Collate(module.model, small)([run.items(small, data)[0]])["batch"], torch.device("cpu"))
        if stage == 2:
            batch = replace(batch, own_C=torch.zeros_like(batch.own_C))
        module(batch)["loss"].backward()
        grown = [p.grad for p in module.parameters() if p.requires_grad and p.grad is not None]
        assert grown and all(torch.isfinite(grad).all() for grad in grown)
    model = module.model.eval()
    session = Loaded(model, name, 0.0).chat(where / "photos" / "0.png", max_new_tokens=6)
    ids = (model.grammar.id("[OBJ]"), *model.grammar.tokenizer.encode(" cup"), model.grammar.id("[SEG]"))
    assert session.ask("Where is the cup?", forced=ids).regions[0].mask.shape == session.size


def measured(name: str, where, folder, script: list[str], segmenter: str) -> dict:
    """The command of `measure`, its talker a script and its segmenter tiny."""
    file = folder / "script.jsonl"
    file.write_text("\n".join(script))
    words = shlex.split(systems()[name].measure("instructpart"))
    put = {"--talker": f"scripted:{file}", "--segmenter": segmenter, "--device": "cpu", "--out": str(folder / "run")}
    words = [put.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    data = make_folder(folder)
    for path in (*data.glob("images/*"), *data.glob("masks/*")):  # wide enough for Grounding DINO's last map
        Image.open(path).resize((120, 60), Image.Resampling.NEAREST).save(path)
    assert call(["eval", str(data), "--format", "instructpart", *words[3:], "--threads", "1", "--limit", "1"]) == 0
    return summary(folder / "run")


def test_grounded_sam_runs_by_its_command(where, tmp_path):
    region = {"id": 0, "phrase": "cup", "box": [], "points": []}
    line = json.dumps({"text": "There.", "steps": [{"do": "replace", "regions": [region]}]})
    spec = f"gdino:{checkpoints.gdino(where / 'gdino')}+sam:{checkpoints.sam(where / 'sam')}"
    found = measured("grounded-sam", where, tmp_path, [line] * 4, spec)
    assert found["n"] == 1 and found["model"].startswith("composed:scripted:")


def test_the_agent_of_sam_3_runs_by_its_command(where, tmp_path):
    lines = [tool("segment_phrase", "cup"), tool("report_no_mask")]
    found = measured("sam3-agent", where, tmp_path, lines, f"sam3:{checkpoints.sam3(where / 'sam3', 'sam3')}")
    assert found["n"] == 1 and "plain-agent" in found["model"]


def test_the_page_says_what_the_command_says(capsys):
    assert call(["bench", "baselines", "--markdown"]) == 0
    said = capsys.readouterr().out.strip()
    assert said in (Path(__file__).parents[3] / "docs" / "full_size.md").read_text(encoding="utf-8")


ONE = Faithful("x", "X", "", "", (Expected("prist", 10.0, "X", "paper"),))
LEAST = Faithful("x", "X", "", "", (Expected("prist", 10.0, "X", "guess", least=True),))


@pytest.mark.parametrize(
    ("one", "run_of", "says"),
    [
        (ONE, None, "not run"),
        (ONE, {"giou": 10.9}, "pass"),
        (ONE, {"giou": 9.1}, "pass"),
        (ONE, {"giou": 11.1}, "differ"),
        (ONE, {"giou": 14.0, "intervals": {"giou": [9.5, 18.0]}}, "pass"),
        (ONE, {"giou": 14.0, "intervals": {"giou": [12.5, 18.0]}}, "differ"),
        (LEAST, {"giou": 14.0}, "pass"),
        (LEAST, {"giou": 8.0}, "differ"),
    ],
)
def test_the_checklist(one, run_of, says):
    (row,) = checklist(one, {} if run_of is None else {"prist": run_of})
    assert row["says"] == says and row["giou"] == (None if run_of is None else run_of["giou"])


def test_data_with_nothing_to_expect_is_told():
    with pytest.raises(InputError, match="x on prist, got reasonseg"):
        checklist(ONE, {"reasonseg": {"giou": 1.0}})


def test_the_command_says_pass_or_differ(capsys, tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"giou": 11.5, "n": 508}))
    line = ["bench", "baselines", "lisa-7b", "--run", f"prist={tmp_path}", "--json"]
    assert call(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["says"] for row in found["checks"]] == ["pass", "not run"]
    (told,) = found["baselines"]
    assert "5000 steps" in told["settings"] and "LoRA 8, alpha 16" in told["settings"]
    assert told["train"].endswith("--out runs/lisa-7b") and "use_mask_encoder: false" in told["train"]
    (tmp_path / "summary.json").write_text(json.dumps({"giou": 20.0}))
    assert call(line) == 1
    assert [row["says"] for row in json.loads(capsys.readouterr().out)["checks"]] == ["differ", "not run"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nobody"], "one of lisa-7b"), (["lisa-7b", "--run", "prist"], "--run DATA=FOLDER"),
        (["--run", "prist=nowhere"], "a run of miras eval --out"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(capsys, words, says):
    assert call(["bench", "baselines", *words]) == 2
    assert says in capsys.readouterr().err
