"""After the last stage: what is fitted on photos that were not trained on, and the table of continuations.

In: a saved model, training and calibration photos. Out: the same model with its refusals calibrated, the
scale of its score and the scores below which it is no answer, or unsure; and what mostly follows what in the replies
to training photos. In place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from miras.chat.load import load
from miras.core.types import AnnotatedPhoto
from miras.data.dialogues.manner import PLAIN, Manner
from miras.data.dialogues.sampler import askable
from miras.data.record import Record
from miras.model.miras import Miras
from miras.train.calibrate import refusal
from miras.train.calibrate.continuations import continuations


def finish(
    folder: Path, training: Sequence[AnnotatedPhoto], unseen: Sequence[AnnotatedPhoto], dialogues: int, seed: int,
    recorded: Sequence[Record] = (), manner: Manner = PLAIN,
) -> dict[str, Any]:  # fmt: skip
    """`dialogues` sampled dialogues about unseen photos give the evidence, and half as many recorded ones about them,
    where there are some. manner: how people talk in the sampled ones. Without unseen photos refusals stay as they are.

    Returns the number of turns, of those whose thing is there, and the refusal calibration.
    """
    found: dict[str, Any] = {"n": 0, "there": 0}
    model = Miras.from_pretrained(folder)
    if unseen:
        answering = load(folder).model
        seen = refusal.collect(answering, unseen, dialogues, seed, recorded, manner)
        seen = seen.beside(*refusal.asked_by_name(answering, unseen, seed))
        torch.save(asdict(seen), folder.parent / "evidence.pt")
        found = {"n": len(seen.there_N), "there": int(seen.there_N.sum()), "scored": len(seen.scored_M3)}
        if 0 < found["there"] < found["n"]:
            model.alignment.verdict.copy_(refusal.fit(seen.evidence_N2, seen.there_N))
        before = model.config.score_calibration
        model.config.score_calibration = list(refusal.fit_score(seen.scored_M3, *before))
        scored = refusal.rescaled(seen.scored_M3, before, model.config.score_calibration)
        model.config.least_score, model.config.unsure_below = refusal.fit_unsure(scored)
    photos = [photo for photo in training if photo.annotations and askable(photo)]
    if photos:
        model.continuations = continuations(model.grammar, model.config.template, photos, 12 * dialogues, seed, manner)
    model.save_pretrained(folder)
    return found | {
        "refusal": model.alignment.verdict.tolist(), "score": model.config.score_calibration,
        "least_score": model.config.least_score, "unsure_below": model.config.unsure_below,
    }  # fmt: skip
