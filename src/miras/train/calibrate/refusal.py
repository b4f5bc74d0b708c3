"""Refusal calibration: five numbers fitted after stage 2, when to refuse, and the scale of the score.

In: a trained model and annotated photos that it has not seen: on photos of the training the presence
head is surer than elsewhere (docs/decisions/0007-look-before-refusing.md). Out: its `verdict`: bias, weight of what
the pixels say (presence), weight of what the language model says (`[REJ]`). Logistic regression; things
that are there weigh PRESENT times in sum as things that are not; what dialogues show and names asked alone count alike.
And slope and shift of the predicted IoU's logit, so
that a score means the IoU that is to be expected (Platt 1999, with the IoU as a soft target).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from miras.chat.session import ChatSession
from miras.core.masks import iou
from miras.core.recall import told
from miras.core.types import AnnotatedPhoto, Conversation, Mark, Operator
from miras.data.dialogues import sampler
from miras.data.dialogues.manner import PLAIN, Manner
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge
from miras.data.language.words import definite, is_plural
from miras.data.record import Record, turn_of
from miras.model.miras import Miras

PRESENT = 1.5
"""Weight of a thing that is there: to refuse it is worse than to select what is not. Chosen on calibration photos
(docs/decisions/0007-look-before-refusing.md)."""
WORTHLESS, RIGHT = 0.1, 0.5
"""IoU below which a region is no answer, and from which it is right."""
SURELY = 4.0
"""What it costs to withhold a region that is an answer; to withhold none of that kind saves 1."""
LARGE = 0.01
"""Share of a photo that a thing covers to be asked by its name."""
ABSENT = (2, 1)
"""Names of what is not there that are asked of a photo: of what was looked for, of what does not go with it."""
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda phrase: f"Where {'are' if is_plural(phrase) else 'is'} {definite(phrase)}?", str, definite,
)  # fmt: skip
DECAY = 1e-2
"""Of the two weights, so that separable data leaves them finite."""


@dataclass(frozen=True)
class Evidence:
    """evidence_N2: presence and refusal; there_N: whether the thing is there. scored_M3: predicted IoU, log
    probability of the name and real IoU of the first region of each reply that drew something asked for."""

    evidence_N2: Tensor
    there_N: Tensor
    scored_M3: Tensor

    def beside(self, evidence_N2: Tensor, there_N: Tensor) -> Evidence:
        """The same with more evidence."""
        both = torch.cat([self.evidence_N2, evidence_N2]), torch.cat([self.there_N, there_N])
        return Evidence(*both, self.scored_M3)


def collect(
    model: Miras, photos: Sequence[AnnotatedPhoto], count: int, seed: int = 0, recorded: Sequence[Record] = (),
    manner: Manner = PLAIN,
) -> Evidence:  # fmt: skip
    """What `count` sampled dialogues show; scores also from half as many conversations drawn from `recorded`.

    manner: of the sampled ones. The history is the data's own; turns that ask for no region are left out. Recorded
    conversations do not calibrate refusals: with them it refused more of what is there
    (docs/decisions/0007-look-before-refusing.md).
    """
    rows, there, scored = [], [], []
    can = {"points": model.config.points, "complements": model.config.complements}
    talks = [(talk, True) for talk in _sampled(photos, count, seed, manner, **can)]
    talks += [(talk, False) for talk in _drawn(recorded, count // 2, seed)]
    for (photo, drawn), judged in talks:
        talk = told(drawn, **can)
        if talk is None:
            continue
        session = ChatSession(model, photo)
        for user, gold in zip(talk.turns[::2], talk.turns[1::2], strict=True):
            refused = any(isinstance(piece, Mark) and piece.operator is Operator.REJECT for piece in gold.content)
            twin = session.fork()
            reply = twin.ask(user.text)
            evidence = twin.evidence
            new = [region for region in reply.regions if region.id not in reply.recalled]
            if gold.regions and new and new[0].score is not None:
                naming = 0.0 if evidence is None else evidence.naming
                scored.append([new[0].score, naming, iou(new[0].mask, gold.regions[0].mask)])
            asked = judged and (refused or bool(gold.regions)) and not (evidence is not None and evidence.again)
            if asked and evidence is not None and evidence.presence is not None:
                rows.append([evidence.presence, evidence.refusal])
                there.append(float(not refused))
            session.append_exchange(user.text, gold)
    return Evidence(
        torch.tensor(rows, dtype=torch.float64).reshape(-1, 2), torch.tensor(there, dtype=torch.float64),
        torch.tensor(scored, dtype=torch.float64).reshape(-1, 3),
    )  # fmt: skip


def asked_by_name(model: Miras, photos: Sequence[AnnotatedPhoto], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Presence and refusal (N, 2) of names asked alone, in a conversation of their own, and whether they are there
    (N,): all that is large enough, and a few that surely are not."""
    rows, there = [], []
    for photo in photos:
        opening = ChatSession(model, photo.file)
        rng = np.random.default_rng([seed, 9, *photo.id.encode()])
        for phrase, is_there in _names(photo, rng):
            session = opening.fork()
            session.ask(_FORMS[int(rng.integers(len(_FORMS)))](phrase))
            evidence = session.evidence
            if evidence is not None and evidence.presence is not None:
                rows.append([evidence.presence, evidence.refusal])
                there.append(float(is_there))
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2), torch.tensor(there, dtype=torch.float64)


def _names(photo: AnnotatedPhoto, rng: np.random.Generator) -> Iterator[tuple[str, bool]]:
    scene = Scene(photo, knowledge.load())
    for target in scene.targets:
        if target.sort in ("one", "all") and scene.mask(target).mean() >= LARGE:
            yield target.phrase, True
    for names, most in zip(scene.absent, ABSENT, strict=True):
        pool = sorted(set(names) - scene.present)
        for at in rng.permutation(len(pool))[:most]:
            yield pool[int(at)], False


def _sampled(
    photos: Sequence[AnnotatedPhoto],
    count: int,
    seed: int,
    manner: Manner = PLAIN,
    points: bool = False,
    complements: bool = False,
) -> Iterator[tuple[Path | bytes, Conversation]]:
    rng = np.random.default_rng([seed, 7])
    kinds = {"progressive": 0.35, "shift": 0.15, "edit": 0.1, "absent": 0.4}
    for index in range(count):
        photo = photos[int(rng.integers(len(photos)))]
        drawn = sampler.sample(
            photo, np.random.default_rng([seed, index]), turns=(1, 3), kinds=kinds, manner=manner, points=points,
            complements=complements,
        )  # fmt: skip
        yield photo.file, drawn.conversation


def _drawn(records: Sequence[Record], count: int, seed: int) -> Iterator[tuple[Path | bytes, Conversation]]:
    order = np.random.default_rng([seed, 8]).permutation(len(records))[:count]
    for record in (records[int(index)] for index in order):
        talk = Conversation(tuple(turn_of(turn, index) for index, turn in enumerate(record["turns"])))
        yield record.get("image_bytes") or Path(record["image"]), talk


def fit_score(
    scored_M3: Tensor, slope: float = 1.0, shift: float = 0.0, weight: float = 0.0
) -> tuple[float, float, float]:
    """Slope and shift of the logit and the weight of the log probability of the name, where the scores were made with
    these; as they are for fewer than 20 regions."""
    if len(scored_M3) < 20:
        return slope, shift, weight
    score, naming, real = scored_M3.unbind(1)
    raw = (score.clamp(1e-4, 1 - 1e-4).logit() - shift - weight * naming) / slope
    facts = torch.stack([raw, torch.ones_like(raw), naming], 1)
    line = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(facts @ line, real)
        value.backward()
        return value

    search.step(loss)
    slope, shift, weight = line.detach().tolist()
    return max(slope, 0.05), shift, max(weight, 0.0)


def rescaled(scored_M3: Tensor, before: Sequence[float], after: Sequence[float]) -> Tensor:
    """Scores made with one calibration as another one gives them."""
    score, naming, real = scored_M3.unbind(1)
    raw = (score.clamp(1e-4, 1 - 1e-4).logit() - before[1] - before[2] * naming) / before[0]
    return torch.stack([(after[0] * raw + after[1] + after[2] * naming).sigmoid(), naming, real], 1)


def fit_unsure(scored_M3: Tensor) -> tuple[float, float]:
    """Scores: below the first a region is no answer (its IoU is under WORTHLESS, most likely), below the second it is
    unsure (its IoU is under RIGHT, more likely than not). 0 where no score tells that, or for fewer than 20 regions.

    scored_M3: calibrated scores in the first column, real IoU in the last.
    """
    if len(scored_M3) < 20:
        return 0.0, 0.0
    score, _, real = scored_M3.unbind(1)
    least = _threshold(score, real < WORTHLESS, SURELY)
    return least, max(least, _threshold(score, real < RIGHT, 1.0))


def _threshold(score_M: Tensor, bad_M: Tensor, price: float) -> float:
    """Where to cut so that most bad ones are below, each good one below at a price; 0 where nothing is won."""
    order = score_M.argsort()
    gain = torch.where(bad_M[order], 1.0, -price).cumsum(0)
    best = int(gain.argmax())
    if gain[best] <= 0:
        return 0.0
    ordered = score_M[order]
    above = ordered[best + 1] if best + 1 < len(ordered) else ordered[best] + 1e-6
    return round(float((ordered[best] + above) / 2), 4)


def fit(evidence_N2: Tensor, there_N: Tensor) -> Tensor:
    """Bias and weights (3,) float32 of the balanced logistic regression."""
    facts = torch.cat([torch.ones_like(evidence_N2[:, :1]), evidence_N2.double()], 1)
    share = torch.where(there_N > 0.5, there_N.sum() / PRESENT, (1 - there_N).sum()).clamp_min(1)
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(facts @ weights, there_N, reduction="none")
        value: Tensor = (each / share).sum() / (1 + PRESENT) + DECAY * weights[1:].square().sum()
        value.backward()
        return value

    search.step(loss)
    return weights.detach().float()
